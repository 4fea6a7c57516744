/** The first script: the browser shows what stands in the page itself before it reads the rest. */
import "./ui/theme";

const begin = () => void import("./app");
if (document.hidden) begin();
else requestAnimationFrame(() => setTimeout(begin));

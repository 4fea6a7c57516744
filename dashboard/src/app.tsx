import { render, type ComponentChildren, type FunctionComponent } from "preact";
import { LocationProvider, Route, Router, lazy, useLocation } from "preact-iso";
import { useErrorBoundary, useRef } from "preact/hooks";
import { begin, needsToken } from "./api/client";
import { follow } from "./live";
import { Alert } from "./pages/alert";
import { Alerts } from "./pages/alerts";
import { Login } from "./pages/login";
import { Overview } from "./pages/overview";
import { Frame } from "./ui/frame";
import { Empty, Trouble } from "./ui/parts";
import { link, ROOT } from "./url";

// What a first visit shows is in the first file; the rest comes when it is opened.
const page = <N extends string>(load: () => Promise<Record<N, FunctionComponent>>, name: N) =>
  lazy(async () => ({ default: (await load())[name] }));
const Explain = page(() => import("./pages/explain"), "Explain");
const Hosts = page(() => import("./pages/hosts"), "Hosts");
const Host = page(() => import("./pages/host"), "HostPage");
const Flows = page(() => import("./pages/flows"), "Flows");
const Captures = page(() => import("./pages/captures"), "Captures");
const Capture = page(() => import("./pages/capture"), "Capture");
const Fleet = page(() => import("./pages/fleet"), "Fleet");
const Sensor = page(() => import("./pages/sensor"), "SensorPage");
const Learned = page(() => import("./pages/learned"), "Learned");
const System = page(() => import("./pages/system"), "System");

function NoPage() {
  return <Empty>There is no such page. <a href={link("")}>Overview</a></Empty>;
}

/** A page that fails leaves the others reachable. */
function Guarded({ children }: { children: ComponentChildren }) {
  const { url } = useLocation();
  const [error, reset] = useErrorBoundary();
  const at = useRef(url);
  if (error !== undefined && at.current !== url) reset();
  at.current = url;
  return error === undefined ? <>{children}</> : <Trouble title="This page cannot be shown" detail={String((error as Error).message ?? error)} retry={reset} />;
}

function App() {
  if (needsToken.value) return <Login />;
  return (
    <LocationProvider scope={/^\/(dashboard(\/|$|\?)|$)/}>
      <Frame>
        <Guarded><Router>
          <Route path="/" component={Overview} />
          <Route path={ROOT} component={Overview} />
          <Route path={`${ROOT}/alerts`} component={Alerts} />
          <Route path={`${ROOT}/alerts/:id`} component={Alert} />
          <Route path={`${ROOT}/why`} component={Explain} />
          <Route path={`${ROOT}/hosts`} component={Hosts} />
          <Route path={`${ROOT}/hosts/:address`} component={Host} />
          <Route path={`${ROOT}/flows`} component={Flows} />
          <Route path={`${ROOT}/captures`} component={Captures} />
          <Route path={`${ROOT}/captures/:id`} component={Capture} />
          <Route path={`${ROOT}/fleet`} component={Fleet} />
          <Route path={`${ROOT}/fleet/:name`} component={Sensor} />
          <Route path={`${ROOT}/learned`} component={Learned} />
          <Route path={`${ROOT}/system`} component={System} />
          <Route default component={NoPage} />
        </Router></Guarded>
      </Frame>
    </LocationProvider>
  );
}

follow();
void begin();
render(<App />, document.getElementById("app") as HTMLElement);

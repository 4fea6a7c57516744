/** Asks for a token once; a cookie that no script can read stands for it from then on. */
import { useState } from "preact/hooks";
import { Refused, client, needsToken, taken } from "../api/client";

export function Login() {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState("");
  const open = async (event: Event) => {
    event.preventDefault();
    try {
      await taken(client.POST("/api/session", { headers: { Authorization: `Bearer ${token.trim()}` } }));
      needsToken.value = false;
      // The stream, too, begins with the cookie.
      location.reload();
    } catch (error) {
      setProblem(error instanceof Refused && error.status === 401 ? "This token does not hold: it is unknown, revoked or over." : String((error as Error).message));
    }
  };
  return (
    <main class="login">
      <h1>nta</h1>
      <form onSubmit={open}>
        <label>
          Token
          <input type="password" name="token" autocomplete="current-password" required autofocus value={token} onInput={(event) => setToken(event.currentTarget.value)} />
        </label>
        <button type="submit">Open</button>
        {problem !== "" && <p role="alert" class="trouble">{problem}</p>}
        <p class="quiet">
          An administrator makes one on the gateway: <code>nta-daemon tokens create --role viewer</code>
        </p>
      </form>
    </main>
  );
}

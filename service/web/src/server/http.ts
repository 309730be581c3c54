import { Problem } from "./problem";

/** Asks a person for a key; resolves when the server has taken one, rejects when they give up. */
type AskForKey = () => Promise<void>;
let askForKey: AskForKey = () => Promise.reject(Problem.unreachable());

export function onKeyNeeded(ask: AskForKey): void {
  askForKey = ask;
}

/** Addresses are relative to the page: a proxy may serve all of it below some path. */
export async function ask(address: string, init: RequestInit = {}): Promise<Response> {
  for (;;) {
    let response: Response;
    try {
      response = await fetch(address, { credentials: "same-origin", cache: "no-store", ...init });
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw Problem.unreachable();
    }
    if (response.ok) return response;
    const document: unknown = await response.json().catch(() => null);
    if (response.status !== 401) throw Problem.of(document, response.status, response.headers.get("Retry-After"));
    await askForKey();
  }
}

export async function askJson<T>(address: string, init?: RequestInit): Promise<T> {
  return (await (await ask(address, init)).json()) as T;
}

/** Exchanges a key for the server's own cookie, which scripts cannot read. */
export async function openSession(key: string): Promise<boolean> {
  const init = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ key }) };
  const response = await fetch("session", init).catch(() => {
    throw Problem.unreachable();
  });
  if (response.ok) return true;
  if (response.status === 401) return false;
  throw Problem.of(await response.json().catch(() => null), response.status);
}

export { askForKey };

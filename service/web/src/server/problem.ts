import type { Geometry } from "./report";

/** What the server refuses, after RFC 9457; `slug` is the last part of its type. */
export class Problem extends Error {
  constructor(
    readonly slug: string,
    readonly title: string,
    readonly detail: string,
    readonly status: number,
    readonly geometry: Geometry | null = null,
    readonly retryAfterS: number | null = null,
  ) {
    super(detail);
  }

  /** From a problem document, or from what a proxy in between has said instead. */
  static of(document: unknown, status: number, retryAfter: string | null = null): Problem {
    if (typeof document !== "object" || document === null || !("type" in document)) {
      return new Problem("unexpected", `HTTP ${status}`, "", status);
    }
    const { type, title, detail, geometry } = document as Record<string, unknown>;
    const slug = String(type).replace("urn:sigap:problem:", "");
    const seconds = retryAfter === null ? null : Number.parseInt(retryAfter, 10) || null;
    return new Problem(slug, String(title ?? ""), String(detail ?? ""), status, (geometry ?? null) as Geometry | null, seconds);
  }

  /** The request never arrived, or its answer never did. */
  static unreachable(): Problem {
    return new Problem("unreachable", "", "", 0);
  }
}

import { useEffect, useRef } from "react";
import { useSWRConfig } from "swr";

import type { Schemas } from "./client";

const MODEL = "/api/v1/models/{model}";

/** Return what makes the page ask again for all that it shows of a model, but for the run that tells the news. */
export function useNewsOf(model: string): () => void {
  const { mutate } = useSWRConfig();
  return () => void mutate((key) => Array.isArray(key) && isOf(model, key));
}

/**
 * Asks again for what else is shown of a model whenever the model itself has changed, and when nothing is live any more: what is
 * asked for only while something is live would else miss the end, and what is never asked for again would miss all.
 */
export function useFreshParts({ row, head }: Schemas["ModelAnswer"]): void {
  const { mutate } = useSWRConfig();
  const now = `${row.model} ${head?.generation} ${head?.applied_at} ${row.live}`;
  const before = useRef(now);
  useEffect(() => {
    if (before.current === now) return;
    before.current = now;
    void mutate((key) => Array.isArray(key) && key[0] !== MODEL && isOf(row.model, key));
  }, [mutate, now, row.model]);
}

function isOf(model: string, [path, asked]: readonly unknown[]): boolean {
  if (String(path).endsWith("{run_id}") || String(path).endsWith("rollback-preview")) return false;
  return path === "/api/v1/models" || (asked as { path?: { model?: string } } | undefined)?.path?.model === model;
}

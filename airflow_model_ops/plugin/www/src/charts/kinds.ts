import type { Sign } from "./sign";

const KINDS: Record<string, Sign> = {
  version: { sign: "◆", words: "version", palette: "blue" },
  data: { sign: "≡", words: "data", palette: "teal" },
  examples: { sign: "≡", words: "examples", palette: "teal" },
  run: { sign: "▶", words: "DAG run", palette: "purple" },
  trainer: { sign: "⚙", words: "training", palette: "purple" },
  entry: { sign: "●", words: "log entry", palette: "gray" },
  serving: { sign: "⇢", words: "serving", palette: "green" },
};

/** How a node of a lineage graph looks; a kind that this page does not know is shown as it is. */
export function kindLook(kind: string): Sign {
  return KINDS[kind] ?? { sign: "·", words: kind, palette: "gray" };
}

import { Badge } from "@chakra-ui/react";

import { verdictLook } from "../looks";

/** A verdict in words, with a sign and a colour; before the first one it says so. */
export function VerdictBadge({ verdict, reason }: { readonly verdict: string | null; readonly reason?: string | null }) {
  const look = verdict === null ? { palette: "gray", sign: "…", words: "not judged yet" } : verdictLook(verdict);
  return (
    <Badge colorPalette={look.palette} variant="subtle" {...(reason && { title: reason })}>
      <span aria-hidden="true">{look.sign}</span> {look.words}
    </Badge>
  );
}

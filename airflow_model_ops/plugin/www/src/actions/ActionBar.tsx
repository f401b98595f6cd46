import { Flex } from "@chakra-ui/react";

import type { Schemas } from "../api/client";
import { ActionButton } from "./ActionButton";
import type { Action } from "./actions";

/** The actions of a model as a whole; lifting a quarantine is offered beside the version that is in it. */
const BAR: readonly Action[] = ["rollback", "abort", "hold", "resume", "pin", "quarantine"];

export function ActionBar({ answer }: { readonly answer: Schemas["ModelAnswer"] }) {
  if (!answer.offers.some((offer) => offer.allowed)) return null;
  // Hold and resume are two sides of one thing: the one that makes sense now is enough.
  const shown = BAR.filter((action) => action !== (answer.row.hold ? "hold" : "resume"));
  return (
    <Flex role="group" aria-label="Actions" gap={2} wrap="wrap" align="start">
      {shown.map((action) => <ActionButton key={action} action={action} solid={action === "rollback"} />)}
    </Flex>
  );
}

import { Flex } from "@chakra-ui/react";

import type { Schemas } from "../api/client";
import { ActionButton } from "./ActionButton";
import type { Action } from "./actions";

/** The actions of a model as a whole; a hold is ended where the page tells of it, a quarantine beside the version that is in it. */
const BAR: readonly Action[] = ["rollback", "abort", "hold", "pin", "quarantine"];

export function ActionBar({ answer }: { readonly answer: Schemas["ModelAnswer"] }) {
  if (!answer.offers.some((offer) => offer.allowed)) return null;
  const shown = BAR.filter((action) => action !== "hold" || answer.row.hold === null);
  return (
    <Flex role="group" aria-label="Actions" gap={2} wrap="wrap" align="start">
      {shown.map((action) => <ActionButton key={action} action={action} solid={action === "rollback"} />)}
    </Flex>
  );
}

import { Box, Button, Text } from "@chakra-ui/react";
import { useId, useState } from "react";

import { type Action, WORDS } from "./actions";
import { useActions } from "./context";

interface Props {
  readonly action: Action;
  readonly version?: string;
  readonly size?: "xs" | "sm";
  readonly solid?: boolean;
}

/**
 * Opens an action's dialog. Who may not do it sees no button; where it makes no sense now the button says why when it is pressed,
 * pointed at or read out: it stays in the order of focus.
 */
export function ActionButton({ action, version, size = "sm", solid = false }: Props) {
  const { offer, ask } = useActions();
  const [told, setTold] = useState(false);
  const id = useId();
  const offered = offer(action);
  if (!offered?.allowed) return null;
  const { name, palette } = WORDS[action];
  const whyNot = offered.why_not;
  return (
    <Box>
      <Button
        size={size === "xs" ? "xs" : { base: "xs", md: "sm" }}
        variant={solid ? "solid" : "outline"}
        colorPalette={palette}
        {...(version && { "aria-label": `${name}: ${version}` })}
        {...(whyNot !== null && { "aria-disabled": true, "aria-describedby": id, title: whyNot, opacity: 0.5, cursor: "not-allowed" })}
        onClick={() => (whyNot === null ? ask(action, version) : setTold((before) => !before))}
      >
        {name}
      </Button>
      {whyNot !== null && (
        <Text id={id} role="status" hidden={!told} fontSize="xs" color="fg.muted" maxW="220px" mt={1}>
          {whyNot}
        </Text>
      )}
    </Box>
  );
}

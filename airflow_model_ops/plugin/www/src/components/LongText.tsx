import { Button, Text } from "@chakra-ui/react";
import { useState } from "react";

/** Characters from which on a text would push the rest of the page out of sight. */
const LONG = 240;

/** What somebody wrote: a long one shows three lines until it is asked for. */
export function LongText({ text }: { readonly text: string }) {
  const [isOpen, setOpen] = useState(false);
  if (text.length < LONG) return text;
  return (
    <>
      <Text as="span" overflowWrap="anywhere" {...(!isOpen && { lineClamp: 3 })}>{text}</Text>
      <Button aria-expanded={isOpen} color="inherit" onClick={() => setOpen(!isOpen)} px={0} size="2xs" textDecoration="underline" variant="plain">
        {isOpen ? "Show less" : "Show all"}
      </Button>
    </>
  );
}

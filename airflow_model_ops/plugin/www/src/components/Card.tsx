import { Box, Flex, Heading } from "@chakra-ui/react";
import { type ReactNode, useId } from "react";

interface Props {
  readonly title: string;
  /** Right of the title, such as a button. */
  readonly aside?: ReactNode;
  readonly children: ReactNode;
}

/** A titled part of a page. */
export function Card({ title, aside, children }: Props) {
  const id = useId();
  return (
    <Box as="section" aria-labelledby={id} borderWidth="1px" borderColor="border" borderRadius="md" bg="bg" p={{ base: 3, md: 4 }} minW={0}>
      <Flex justify="space-between" align="center" gap={3} mb={3} wrap="wrap">
        <Heading as="h2" id={id} size="sm">
          {title}
        </Heading>
        {aside}
      </Flex>
      {children}
    </Box>
  );
}

import { Box, Flex, Heading } from "@chakra-ui/react";
import { type ReactNode, useId } from "react";

interface Props {
  readonly title: string;
  /** Right of the title, such as a button. */
  readonly aside?: ReactNode;
  /** Its place on a narrow screen, where the columns of a page become one. */
  readonly order?: number;
  readonly children: ReactNode;
}

/** A titled part of a page. */
export function Card({ title, aside, order, children }: Props) {
  const id = useId();
  return (
    <Box
      as="section"
      aria-labelledby={id}
      {...(order !== undefined && { order: { base: order, lg: 0 } })}
      borderWidth="1px"
      borderColor="border"
      borderRadius="md"
      bg="bg"
      p={{ base: 3, md: 4 }}
      minW={0}
    >
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

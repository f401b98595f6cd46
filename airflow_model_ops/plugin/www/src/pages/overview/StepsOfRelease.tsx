import { Box, Flex, Text, VisuallyHidden } from "@chakra-ui/react";

import { formatPercent } from "../../charts/words";

interface Props {
  /** The traffic percents of the policy, rising. */
  readonly steps: readonly number[];
  /** The canary's share. */
  readonly now: number;
}

type Stage = "done" | "now" | "to come";
const SIGNS: Record<Stage, string> = { done: "✓", now: "▸", "to come": "○" };

/** How far a release is: its steps, and the promotion at their end. */
export function StepsOfRelease({ steps, now }: Props) {
  if (steps.length === 0) return <Text color="fg.muted">The steps of its policy cannot be read from the YAML file.</Text>;
  const stages = steps.map((step) => ({ words: formatPercent(step), stage: stageOf(step, now) }));
  const last = { words: "promote", stage: "to come" as Stage };
  return (
    <Flex as="ol" aria-label="Steps of the release" listStyleType="none" gap={1} wrap="wrap">
      {[...stages, last].map(({ words, stage }, index) => (
        <Box
          as="li"
          key={index}
          flex="1 1 64px"
          borderTopWidth="4px"
          borderColor={stage === "to come" ? "border" : "blue.solid"}
          pt={1}
          fontSize="sm"
          {...(stage === "now" && { "aria-current": "step" as const })}
        >
          <Text as="span" fontWeight={stage === "now" ? "bold" : "normal"} color={stage === "to come" ? "fg.muted" : "fg"} whiteSpace="nowrap">
            <span aria-hidden="true">{SIGNS[stage]} </span>
            {words}
            <VisuallyHidden>, {stage}</VisuallyHidden>
          </Text>
        </Box>
      ))}
    </Flex>
  );
}

function stageOf(step: number, now: number): Stage {
  if (step < now) return "done";
  return step === now ? "now" : "to come";
}

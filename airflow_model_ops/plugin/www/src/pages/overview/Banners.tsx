import { Alert, Stack } from "@chakra-ui/react";

import { ActionButton } from "../../actions/ActionButton";
import type { Schemas } from "../../api/client";
import { LongText } from "../../components/LongText";

/** What is to be known of a model before anything else, on each of its tabs. */
export function Banners({ row: { hold, trouble } }: { readonly row: Schemas["ModelRow"] }) {
  if (hold === null && trouble === null) return null;
  return (
    <Stack gap={3} mb={3}>
      {trouble !== null && (
        <Alert.Root status="error">
          <Alert.Indicator />
          <Alert.Content>
            <Alert.Title>This model's log cannot be read</Alert.Title>
            <Alert.Description overflowWrap="anywhere"><LongText text={trouble} /></Alert.Description>
          </Alert.Content>
        </Alert.Root>
      )}
      {hold !== null && (
        <Alert.Root status="warning" alignItems="center" flexWrap={{ base: "wrap", md: "nowrap" }}>
          <Alert.Indicator />
          <Alert.Content flexBasis={{ base: "70%", md: "auto" }}>
            <Alert.Title>On hold by {hold.by}: no shift and no promotion</Alert.Title>
            <Alert.Description overflowWrap="anywhere"><LongText text={hold.reason} /></Alert.Description>
          </Alert.Content>
          <ActionButton action="resume" size="xs" />
        </Alert.Root>
      )}
    </Stack>
  );
}

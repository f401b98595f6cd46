import { Box, Button, Flex, Stack, Table, Text } from "@chakra-ui/react";
import { useState } from "react";
import { useSearchParams } from "react-router-dom";

import { useVersions } from "../api/hooks";
import { EmptyState, ErrorState, Loading, PartTrouble, StaleNote } from "../components/states";
import type { TabProps } from "./tab";
import { comparedIn, toggled, whyNotCompared } from "./versions";
import { ComparisonView } from "./versions/ComparisonView";
import { COLUMNS, VersionRows } from "./versions/VersionRows";

const PAGE = 50;

/** Every version of a model, newest first, and two to four of them side by side. */
export function VersionsTab({ answer }: TabProps) {
  const { model } = answer.row;
  const [asked, ask] = useSearchParams();
  const compared = comparedIn(asked);
  const [selection, select] = useState<readonly string[]>(compared ?? []);
  const [pages, setPages] = useState(1);
  const first = useVersions(model, { limit: PAGE, skip: 0 });
  if (!first.data) {
    return first.error ? <ErrorState error={first.error} retry={() => void first.mutate()} what="The versions" /> : <Loading rows={6} what="the versions" />;
  }
  const { total, ledger } = first.data;
  if (total === 0) {
    return <EmptyState title="No versions yet">A version appears here as soon as one is pushed or adopted.</EmptyState>;
  }
  const shown = Math.min(total, pages * PAGE);
  return (
    <Stack gap={4}>
      <StaleNote error={first.error} />
      {compared && (
        <ComparisonView
          key={compared.join(" ")}
          onClose={() => {
            ask({});
          }}
          row={answer.row}
          versions={compared}
        />
      )}
      {ledger.trouble && <PartTrouble trouble={ledger.trouble} what="Whether versions passed their validation" />}
      <CompareBar
        onClear={() => {
          select([]);
        }}
        onCompare={() => {
          ask({ compare: [...selection] });
        }}
        selection={selection}
      />
      <Box aria-label="Versions" overflowX="auto" role="region" tabIndex={0}>
        <Table.Root size="sm">
          <Table.Caption captionSide="top" mt={0} textAlign="start">
            {shown} of {total} versions, newest first
          </Table.Caption>
          <Table.Header>
            <Table.Row>
              {COLUMNS.map((column) => (
                <Table.ColumnHeader key={column} scope="col" whiteSpace="nowrap">
                  {column}
                </Table.ColumnHeader>
              ))}
            </Table.Row>
          </Table.Header>
          {Array.from({ length: pages }, (_, page) => (
            <VersionRows
              key={page}
              limit={PAGE}
              model={model}
              onToggle={(version) => {
                select((before) => toggled(before, version));
              }}
              selection={selection}
              skip={page * PAGE}
            />
          ))}
        </Table.Root>
      </Box>
      {shown < total && (
        <Button
          alignSelf="start"
          onClick={() => {
            setPages((before) => before + 1);
          }}
          size="sm"
          variant="outline"
        >
          Load more versions
        </Button>
      )}
    </Stack>
  );
}

interface CompareBarProps {
  readonly selection: readonly string[];
  readonly onCompare: () => void;
  readonly onClear: () => void;
}

function CompareBar({ selection, onCompare, onClear }: CompareBarProps) {
  const whyNot = whyNotCompared(selection);
  return (
    <Flex align="center" gap={3} wrap="wrap">
      <Button disabled={whyNot !== null} onClick={onCompare} size="sm">
        Compare
      </Button>
      <Text aria-live="polite" color="fg.muted" fontSize="sm">
        {whyNot ?? `${selection.length} versions ticked: ${selection.join(", ")}`}
      </Text>
      {selection.length > 0 && (
        <Button onClick={onClear} size="xs" variant="ghost">
          Untick all
        </Button>
      )}
    </Flex>
  );
}

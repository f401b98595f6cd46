import { Box, Grid, Table, Text } from "@chakra-ui/react";
import { type ComponentType, memo } from "react";

import type { Schemas } from "../../api/client";
import { formatPercent } from "../../charts/words";
import { SplitBar } from "../../components/SplitBar";
import { rolesOf, unread } from "../../looks";
import { CanaryCell, EventCell, GoldenCell, HealthCell, NameCell, QuarantinedCell, StableCell } from "./cells";

type Row = Schemas["ModelRow"];
interface Props {
  readonly rows: readonly Row[];
}

function TrafficCell({ row }: { readonly row: Row }) {
  return (
    <>
      <SplitBar split={row.split} roles={rolesOf(row)} />
      {/* The bar says it to a screen reader already. */}
      <Text aria-hidden="true" fontSize="xs" color="fg.muted" mt={1}>{row.split.map((share) => formatPercent(share.percent)).join(" + ")}</Text>
    </>
  );
}

/** A field that is of the log; where that was never read, it says so instead of "none". */
function ofLog(Cell: ComponentType<{ row: Row }>): ComponentType<{ row: Row }> {
  return function OfLog({ row }) {
    const why = unread(row);
    return why === null ? <Cell row={row} /> : <Text color="fg.muted">{why}</Text>;
  };
}

const Traffic = ofLog(TrafficCell);

const COLUMNS: readonly { title: string; Cell: ComponentType<{ row: Row }>; width?: string }[] = [
  { title: "Stable", Cell: ofLog(StableCell) },
  { title: "Traffic", Cell: Traffic, width: "14%" },
  { title: "Canary", Cell: ofLog(CanaryCell) },
  { title: "Golden", Cell: ofLog(GoldenCell) },
  { title: "Quarantined", Cell: ofLog(QuarantinedCell) },
  { title: "Last event", Cell: ofLog(EventCell) },
  { title: "Servers", Cell: HealthCell },
];

export function ModelsTable({ rows }: Props) {
  return (
    <Box borderWidth="1px" borderColor="border" borderRadius="md" overflowX="auto">
      <Table.Root size="sm" aria-label="Models">
        <Table.Header>
          <Table.Row>
            <Table.ColumnHeader>Model</Table.ColumnHeader>
            {COLUMNS.map(({ title, width }) => (
              <Table.ColumnHeader key={title} {...(width && { width })}>{title}</Table.ColumnHeader>
            ))}
          </Table.Row>
        </Table.Header>
        <Table.Body>
          {rows.map((row) => <Line key={row.model} row={row} />)}
        </Table.Body>
      </Table.Root>
    </Box>
  );
}

/** The same for narrow screens: a card per model. */
export function ModelCards({ rows }: Props) {
  return (
    <Grid as="ul" aria-label="Models" gap={3} listStyleType="none" templateColumns={{ base: "minmax(0, 1fr)", md: "repeat(2, minmax(0, 1fr))" }}>
      {rows.map((row) => (
        <ModelCard key={row.model} row={row} />
      ))}
    </Grid>
  );
}

/** Whether two answers say the same of a model: then its line is not drawn anew. */
function same(before: { readonly row: Row }, after: { readonly row: Row }): boolean {
  return JSON.stringify(before.row) === JSON.stringify(after.row);
}

const Line = memo(function Line({ row }: { readonly row: Row }) {
  return (
    <Table.Row _hover={{ bg: "bg.subtle" }}>
      <Table.Cell verticalAlign="top"><NameCell row={row} /></Table.Cell>
      {COLUMNS.map(({ title, Cell }) => (
        <Table.Cell key={title} verticalAlign="top"><Cell row={row} /></Table.Cell>
      ))}
    </Table.Row>
  );
}, same);

const ModelCard = memo(function ModelCard({ row }: { readonly row: Row }) {
  return (
    <Box as="li" borderWidth="1px" borderColor="border" borderRadius="md" p={3}>
      <NameCell row={row} />
      <Box mt={3} mb={3}><Traffic row={row} /></Box>
      <Grid as="dl" templateColumns="auto minmax(0, 1fr)" columnGap={4} rowGap={2} fontSize="sm">
        {COLUMNS.filter(({ Cell }) => Cell !== Traffic).map(({ title, Cell }) => (
          <Box key={title} display="contents">
            <Text as="dt" color="fg.muted">{title}</Text>
            <Box as="dd" minW={0}><Cell row={row} /></Box>
          </Box>
        ))}
      </Grid>
    </Box>
  );
}, same);

import { Box, Button, NativeSelect, SimpleGrid, Stack, Switch, Table, Text, VisuallyHidden } from "@chakra-ui/react";
import { useState } from "react";

import type { Schemas } from "../../api/client";
import { useComparison } from "../../api/hooks";
import { MetricPlot } from "../../charts/MetricPlot";
import { stylesOf } from "../../charts/palette";
import { WINDOWS } from "../../charts/TrafficHistoryChart";
import { formatBytes, formatCount, formatNumber } from "../../charts/words";
import { Card } from "../../components/Card";
import { EmptyState, ErrorState, Loading, PartTrouble, StaleNote } from "../../components/states";
import { VersionName } from "../../components/VersionName";
import { type Roles, rolesOf } from "../../looks";
import { byGroup } from "../versions";
import { momentOr } from "../../time";

interface Props {
  readonly row: Schemas["ModelRow"];
  readonly versions: readonly string[];
  readonly onClose: () => void;
}

/** Two to four versions side by side: all that was measured of them, as numbers and over time. */
export function ComparisonView({ row, versions, onClose }: Props) {
  const [hours, setHours] = useState<number>(WINDOWS[1].hours);
  const { data, error, mutate } = useComparison(row.model, versions, { hours });
  const close = (
    <Button onClick={onClose} size="xs" variant="outline">
      Close the comparison
    </Button>
  );
  return (
    <Card aside={close} title={`${versions.length} versions side by side`}>
      {data ? (
        <Stack gap={5}>
          <StaleNote error={error} />
          {data.ledger.trouble && <PartTrouble trouble={data.ledger.trouble} what="What validation and real traffic showed" />}
          {data.metrics.trouble && <PartTrouble trouble={data.metrics.trouble} what="The numbers" />}
          {data.metrics.value && <MetricsTable metrics={data.metrics.value} versions={data.versions} />}
          <Plots hours={hours} onHours={setHours} part={data.plots} roles={rolesOf(row)} versions={data.versions} />
        </Stack>
      ) : error ? (
        <ErrorState error={error} retry={() => void mutate()} what="The comparison" />
      ) : (
        <Loading rows={6} what="the comparison" />
      )}
    </Card>
  );
}

interface TableProps {
  readonly metrics: readonly Schemas["ComparedMetric"][];
  readonly versions: readonly string[];
}

function MetricsTable({ metrics, versions }: TableProps) {
  const [onlyDifferent, setOnlyDifferent] = useState(false);
  const groups = byGroup(onlyDifferent ? metrics.filter(({ differs }) => differs) : metrics);
  const different = metrics.filter(({ differs }) => differs).length;
  if (metrics.length === 0) return <EmptyState title="Nothing was measured of these versions yet" />;
  return (
    <Box>
      <Switch.Root
        checked={onlyDifferent}
        onCheckedChange={({ checked }) => {
          setOnlyDifferent(checked);
        }}
        size="sm"
      >
        <Switch.HiddenInput />
        <Switch.Control />
        <Switch.Label>Only what differs</Switch.Label>
      </Switch.Root>
      <Box aria-label="Compared numbers" mt={2} overflowX="auto" role="region" tabIndex={0}>
        <Table.Root size="sm">
          <Table.Caption captionSide="top" mt={0} textAlign="start">
            {different} of {metrics.length} numbers differ; those are marked with ≠
          </Table.Caption>
          <Table.Header>
            <Table.Row>
              <Table.ColumnHeader scope="col">Metric</Table.ColumnHeader>
              {versions.map((version) => (
                <Table.ColumnHeader key={version} scope="col">
                  <VersionName version={version} />
                </Table.ColumnHeader>
              ))}
            </Table.Row>
          </Table.Header>
          {groups.map(({ group, title, metrics: rows }) => (
            <Table.Body key={group}>
              <Table.Row bg="bg.subtle">
                <Table.ColumnHeader colSpan={versions.length + 1} scope="rowgroup">
                  {title}
                </Table.ColumnHeader>
              </Table.Row>
              {rows.map((metric) => (
                <MetricRow key={metric.metric} metric={metric} versions={versions} />
              ))}
            </Table.Body>
          ))}
        </Table.Root>
      </Box>
    </Box>
  );
}

function MetricRow({ metric: { metric, group, values, events, differs }, versions }: { metric: Schemas["ComparedMetric"]; versions: readonly string[] }) {
  return (
    <Table.Row>
      <Table.ColumnHeader fontWeight="normal" scope="row">
        {differs && (
          <>
            <Text aria-hidden="true" as="span" color="fg.warning" fontWeight="bold" me={1}>
              ≠
            </Text>
            <VisuallyHidden>differs: </VisuallyHidden>
          </>
        )}
        {metric}
      </Table.ColumnHeader>
      {versions.map((version) => (
        <Table.Cell key={version} fontVariantNumeric="tabular-nums" fontWeight={differs ? "semibold" : "normal"}>
          <Value isSize={metric === "size" && group === "about"} value={values[version] ?? null} />
          {typeof events[version] === "number" && (
            <Text as="span" color="fg.muted" fontSize="xs" fontWeight="normal">
              {" "}
              of {formatCount(events[version])} events
            </Text>
          )}
        </Table.Cell>
      ))}
    </Table.Row>
  );
}

function Value({ isSize, value }: { isSize: boolean; value: number | string | null }) {
  if (value === null) {
    return (
      <Text as="span" color="fg.muted" fontWeight="normal">
        not measured
      </Text>
    );
  }
  return <Text as="span" overflowWrap="anywhere">{typeof value === "string" ? momentOr(value) : isSize ? formatBytes(value) : formatNumber(value)}</Text>;
}

interface PlotsProps {
  readonly part: Schemas["Comparison"]["plots"];
  readonly roles: Roles;
  readonly versions: readonly string[];
  readonly hours: number;
  readonly onHours: (hours: number) => void;
}

function Plots({ part, roles, versions, hours, onHours }: PlotsProps) {
  const styles = stylesOf(versions, roles);
  if (part.trouble) return <PartTrouble trouble={part.trouble} what="The plots over time" />;
  return (
    <Box>
      <NativeSelect.Root mb={3} size="sm" width="fit-content">
        <NativeSelect.Field
          aria-label="Time shown in the plots"
          onChange={({ currentTarget }) => {
            onHours(Number(currentTarget.value));
          }}
          value={hours}
        >
          {WINDOWS.map(({ hours: value, label }) => (
            <option key={value} value={value}>
              the last {label}
            </option>
          ))}
        </NativeSelect.Field>
        <NativeSelect.Indicator />
      </NativeSelect.Root>
      {part.value?.length ? (
        <SimpleGrid columns={{ base: 1, lg: 2 }} gap={6}>
          {part.value.map((plot) => (
            <MetricPlot key={plot.metric} plot={plot} styles={styles} />
          ))}
        </SimpleGrid>
      ) : (
        <Text color="fg.muted">Nothing was measured over time.</Text>
      )}
    </Box>
  );
}

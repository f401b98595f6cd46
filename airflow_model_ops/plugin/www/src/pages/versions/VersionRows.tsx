import { Badge, Checkbox, Clipboard, HStack, IconButton, Stack, Table, Text } from "@chakra-ui/react";
import { useState } from "react";

import type { Schemas } from "../../api/client";
import { useVersions } from "../../api/hooks";
import { formatBytes, formatNumber } from "../../charts/words";
import { ErrorState, Loading } from "../../components/states";
import { VersionName } from "../../components/VersionName";
import { absolute } from "../../time";
import { COMPARED, mainMetrics, shortDigest, statusLook } from "../versions";
import { VersionDetails } from "./VersionDetails";

export const COLUMNS = ["Compare", "More", "Version", "Status", "Created", "Who", "Dataset version", "Metrics", "Digest", "Size"];

interface Ticking {
  readonly model: string;
  readonly selection: readonly string[];
  readonly onToggle: (version: string) => void;
}

/** One page of the table; each asks for itself, so that the others stay while one is read. */
export function VersionRows({ limit, skip, ...ticking }: Ticking & { readonly limit: number; readonly skip: number }) {
  const { data, error, mutate } = useVersions(ticking.model, { limit, skip });
  if (!data) {
    return (
      <Table.Body>
        <Table.Row>
          <Table.Cell colSpan={COLUMNS.length}>
            {error ? <ErrorState error={error} retry={() => void mutate()} what="These versions" /> : <Loading rows={3} what="more versions" />}
          </Table.Cell>
        </Table.Row>
      </Table.Body>
    );
  }
  return (
    <Table.Body>
      {data.versions.map((row) => (
        <VersionLine key={row.version} row={row} {...ticking} />
      ))}
    </Table.Body>
  );
}

function VersionLine({ row, model, selection, onToggle }: Ticking & { readonly row: Schemas["VersionRow"] }) {
  const [open, setOpen] = useState(false);
  const { version } = row;
  const ticked = selection.includes(version);
  return (
    <>
      <Table.Row>
        <Table.Cell>
          <Checkbox.Root
            checked={ticked}
            disabled={!ticked && selection.length >= COMPARED.most}
            onCheckedChange={() => {
              onToggle(version);
            }}
          >
            <Checkbox.HiddenInput aria-label={`Compare ${version}`} />
            <Checkbox.Control />
          </Checkbox.Root>
        </Table.Cell>
        <Table.Cell>
          <IconButton
            aria-expanded={open}
            aria-label={`Details and actions of ${version}`}
            onClick={() => {
              setOpen((before) => !before);
            }}
            size="xs"
            variant="outline"
          >
            <span aria-hidden="true">{open ? "▴" : "▾"}</span>
          </IconButton>
        </Table.Cell>
        <Table.ColumnHeader fontWeight="medium" scope="row" whiteSpace="nowrap">
          <VersionName model={model} version={version} />
        </Table.ColumnHeader>
        <Table.Cell>
          <HStack gap={1} wrap="wrap">
            {row.status.map((status) => (
              <StatusBadge key={status} status={status} />
            ))}
            {row.blessed === false && <Badge colorPalette="red">✕ failed its validation</Badge>}
            {row.trouble !== null && <Badge colorPalette="red" title={row.trouble}>! cannot be read</Badge>}
          </HStack>
        </Table.Cell>
        <Table.Cell whiteSpace="nowrap">{row.created === null ? "unknown" : <time dateTime={row.created}>{absolute(row.created)}</time>}</Table.Cell>
        <Table.Cell>{row.who?.name ?? "unknown"}</Table.Cell>
        <Table.Cell overflowWrap="anywhere">{row.dataset_version ?? "unknown"}</Table.Cell>
        <Table.Cell>
          <Metrics metrics={row.metrics} />
        </Table.Cell>
        <Table.Cell whiteSpace="nowrap">{row.digest === null ? "none" : <Digest digest={row.digest} version={version} />}</Table.Cell>
        <Table.Cell whiteSpace="nowrap">{row.size === null ? "unknown" : formatBytes(row.size)}</Table.Cell>
      </Table.Row>
      {open && (
        <Table.Row>
          <Table.Cell bg="bg.subtle" colSpan={COLUMNS.length}>
            <VersionDetails model={model} row={row} />
          </Table.Cell>
        </Table.Row>
      )}
    </>
  );
}

function StatusBadge({ status }: { status: string }) {
  const { sign, palette, words } = statusLook(status);
  return (
    <Badge colorPalette={palette}>
      {sign && <span aria-hidden="true">{sign}</span>}
      {words}
    </Badge>
  );
}

function Metrics({ metrics }: { metrics: Readonly<Record<string, number>> }) {
  const { shown, more } = mainMetrics(metrics);
  if (shown.length === 0) return <Text color="fg.muted">none</Text>;
  return (
    <Stack fontSize="sm" gap={0}>
      {shown.map(([name, value]) => (
        <Text key={name} as="span" whiteSpace="nowrap">
          <Text as="span" color="fg.muted">{name}</Text> {formatNumber(value)}
        </Text>
      ))}
      {more > 0 && <Text color="fg.muted" fontSize="xs">and {more} more</Text>}
    </Stack>
  );
}

function Digest({ digest, version }: { digest: string; version: string }) {
  return (
    <Clipboard.Root timeout={2000} value={digest}>
      <HStack gap={1}>
        <Text as="span" fontFamily="mono" fontSize="xs" title={digest}>
          {shortDigest(digest)}
        </Text>
        <Clipboard.Trigger asChild>
          <IconButton aria-label={`Copy the digest of ${version}`} size="2xs" variant="ghost">
            <Clipboard.Indicator copied={<span aria-hidden="true">✓</span>}>
              <CopyIcon />
            </Clipboard.Indicator>
          </IconButton>
        </Clipboard.Trigger>
      </HStack>
    </Clipboard.Root>
  );
}

function CopyIcon() {
  return (
    <svg aria-hidden="true" fill="none" height="12" stroke="currentColor" strokeWidth="1.5" viewBox="0 0 12 12" width="12">
      <rect height="7" rx="1" width="7" x="1" y="1" />
      <path d="M4,11 h6 a1,1 0 0 0 1,-1 v-6" />
    </svg>
  );
}

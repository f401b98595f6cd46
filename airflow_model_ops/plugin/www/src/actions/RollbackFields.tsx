import { Alert, Box, Field, List, NativeSelect, RadioGroup, Spinner, Stack, Text } from "@chakra-ui/react";
import { type ReactNode, useEffect, useState } from "react";

import type { Schemas } from "../api/client";
import { type usePreview, useVersions } from "../api/hooks";
import { stylesOf } from "../charts/palette";
import { SplitBar } from "../components/SplitBar";
import { rolesOf } from "../looks";
import { VersionField } from "./VersionField";

const CHOSEN = "chosen";
const BY_NAME = "by name";
const BARRED = ["quarantined", "retired"];

interface Props {
  readonly answer: Schemas["ModelAnswer"];
  readonly to: string;
  readonly change: (to: string) => void;
  readonly fault?: string | undefined;
}

/** Where to: back to the previous version, to the golden one, or to one that is named. */
export function RollbackFields({ answer: { row, earlier }, to, change, fault }: Props) {
  const [way, setWay] = useState(to === "previous" || to === "golden" ? to : CHOSEN);
  const choose = (next: string) => {
    setWay(next);
    change(next === CHOSEN ? "" : next);
  };
  return (
    <Stack gap={3}>
      <RadioGroup.Root value={way} onValueChange={({ value }) => value && choose(value)} aria-label="Back to">
        <Stack gap={2}>
          <Way value="previous" words="the previous version" detail={row.canary ? `ends the canary; ${row.stable ?? "nothing"} stays` : (earlier[0] ?? "none")} />
          <Way value="golden" words="the golden version" detail={row.golden ?? "none is pinned"} />
          <Way value={CHOSEN} words="a version of your choice" />
        </Stack>
      </RadioGroup.Root>
      {way === CHOSEN && <Choice model={row.model} earlier={earlier} to={to} change={change} fault={fault} />}
    </Stack>
  );
}

function Way({ value, words, detail }: { readonly value: string; readonly words: string; readonly detail?: string }) {
  return (
    <RadioGroup.Item value={value}>
      <RadioGroup.ItemHiddenInput />
      <RadioGroup.ItemIndicator />
      <RadioGroup.ItemText fontWeight="normal">
        {words}{" "}
        {detail && <Text as="span" color="fg.muted" fontSize="xs" overflowWrap="anywhere">{detail}</Text>}
      </RadioGroup.ItemText>
    </RadioGroup.Item>
  );
}

function Choice({ model, earlier, to, change, fault }: { readonly model: string; readonly earlier: readonly string[] } & Omit<Props, "answer">) {
  const { data } = useVersions(model);
  const [byName, setByName] = useState(false);
  const barred = new Set(data?.versions.filter(({ status }) => status.some((each) => BARRED.includes(each))).map(({ version }) => version));
  const known = [...new Set([...earlier, ...(data?.versions.map(({ version }) => version) ?? [])])].filter((version) => !barred.has(version));
  if (byName || known.length === 0) return <VersionField label="Version" value={to} change={change} known={known} fault={fault} />;
  return (
    <Field.Root required invalid={fault !== undefined}>
      <Field.Label>
        Version <Field.RequiredIndicator />
      </Field.Label>
      <NativeSelect.Root>
        <NativeSelect.Field
          fontFamily="mono"
          value={to}
          onChange={({ currentTarget: { value } }) => {
            setByName(value === BY_NAME);
            change(value === BY_NAME ? "" : value);
          }}
        >
          <option value="">choose one</option>
          {known.map((version) => <option key={version} value={version}>{version}</option>)}
          <option value={BY_NAME}>another one, by its name</option>
        </NativeSelect.Field>
        <NativeSelect.Indicator />
      </NativeSelect.Root>
      <Field.ErrorText>{fault}</Field.ErrorText>
    </Field.Root>
  );
}

/** Return a value once it has not changed for some milliseconds: nobody wants a preview of each letter. */
export function useSettled(value: string, quiet: number): string {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), quiet);
    return () => clearTimeout(timer);
  }, [value, quiet]);
  return settled;
}

/** What the rollback would do, asked just now. */
export function PreviewPanel({ preview, row }: { readonly preview: ReturnType<typeof usePreview>; readonly row: Schemas["ModelRow"] }) {
  return (
    <Box as="section" aria-label="What will happen" aria-live="polite" borderWidth="1px" borderColor="border" borderRadius="md" bg="bg.subtle" p={3}>
      <Text fontWeight="semibold" mb={2}>What will happen</Text>
      <Contents preview={preview} row={row} />
    </Box>
  );
}

function Contents({ preview: { data, error, isValidating }, row }: Parameters<typeof PreviewPanel>[0]): ReactNode {
  if (isValidating || (!data && !error)) return <Text color="fg.muted">{isValidating ? <><Spinner size="xs" /> Working it out</> : "Say which version first."}</Text>;
  if (error) return <Refusal title="This cannot be said now; the rollback can still be asked for" words={error.detail} status="warning" />;
  if (!data) return null;
  if (!data.possible) return <Refusal title="This rollback is not possible" words={data.why_not ?? ""} status="error" />;
  const before = rolesOf(row);
  const after = rolesOf({ stable: data.target, canary: null, hold_back: null });
  const styles = stylesOf([...data.before, ...data.after].map(({ version }) => version), before);
  return (
    <Stack gap={3}>
      <List.Root ps={4} gap={1}>
        {data.sentences.map((sentence) => <List.Item key={sentence}>{sentence}</List.Item>)}
      </List.Root>
      <Box>
        <Text fontSize="xs" color="fg.muted">now</Text>
        <SplitBar split={data.before} roles={before} styles={styles} legend />
      </Box>
      <Box>
        <Text fontSize="xs" color="fg.muted">then</Text>
        <SplitBar split={data.after} roles={after} styles={styles} legend />
      </Box>
    </Stack>
  );
}

function Refusal({ title, words, status }: { readonly title: string; readonly words: string; readonly status: "warning" | "error" }) {
  return (
    <Alert.Root status={status} size="sm">
      <Alert.Indicator />
      <Alert.Content>
        <Alert.Title>{title}</Alert.Title>
        <Alert.Description overflowWrap="anywhere">{words}</Alert.Description>
      </Alert.Content>
    </Alert.Root>
  );
}

import { Box, Flex, Heading, Link, Tabs } from "@chakra-ui/react";
import { type ComponentType, useEffect, useRef } from "react";
import { Link as RouterLink, useNavigate } from "react-router-dom";

import { ActionBar } from "../actions/ActionBar";
import { ActionsOfModel } from "../actions/ActionsOfModel";
import type { Schemas } from "../api/client";
import { useModel } from "../api/hooks";
import { ErrorState, Loading, StaleNote } from "../components/states";
import { HOME, TABS, type Tab, modelPath } from "../routes";
import { EvidenceTab } from "./EvidenceTab";
import { Banners } from "./overview/Banners";
import { LineageTab } from "./LineageTab";
import { OverviewTab } from "./OverviewTab";
import type { TabProps } from "./tab";
import { TimelineTab } from "./TimelineTab";
import { VersionsTab } from "./VersionsTab";

/** The tabs that there are, by their part of the address; they are shown in the order of `TABS`. */
const CONTENT: Partial<Record<Tab, { title: string; Content: ComponentType<TabProps> }>> = {
  overview: { title: "Overview", Content: OverviewTab },
  evidence: { title: "Evidence", Content: EvidenceTab },
  versions: { title: "Versions", Content: VersionsTab },
  timeline: { title: "Timeline", Content: TimelineTab },
  lineage: { title: "Lineage", Content: LineageTab },
};

export function ModelPage({ model, tab }: { readonly model: string; readonly tab: Tab }) {
  const { data, error, mutate } = useModel(model);
  const refresh = () => void mutate();
  if (data) {
    return (
      <ActionsOfModel answer={data}>
        <Flex justify="space-between" align="end" gap={3} mb={3} wrap="wrap">
          <Title model={model} />
          <ActionBar answer={data} />
        </Flex>
        <StaleNote error={error} />
        <Banners row={data.row} />
        <ModelTabs answer={data} tab={tab} refresh={refresh} />
      </ActionsOfModel>
    );
  }
  return (
    <>
      <Box mb={3}><Title model={model} /></Box>
      {error ? <ErrorState error={error} what={`The model ${model}`} retry={refresh} /> : <Loading what={`the model ${model}`} rows={6} />}
    </>
  );
}

function Title({ model }: { readonly model: string }) {
  return (
    <Box minW={0}>
      <Flex as="nav" aria-label="Breadcrumb" fontSize="sm" mb={1}>
        <Link asChild>
          <RouterLink to={HOME}><span aria-hidden="true">←</span> All models</RouterLink>
        </Link>
      </Flex>
      <Heading as="h1" size="xl" overflowWrap="anywhere">{model}</Heading>
    </Box>
  );
}

interface TabsProps extends TabProps {
  readonly answer: Schemas["ModelAnswer"];
  readonly tab: Tab;
}

/** The tab that was turned to last, until it is shown: Airflow's UI may make the page anew then, and the focus would be lost. */
let turnedTo: string | null = null;

/** Arrow keys move between tabs; each has an address of its own. Only the one that is open asks for anything. */
function ModelTabs({ answer, tab, refresh }: TabsProps) {
  const navigate = useNavigate();
  const list = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (turnedTo !== tab) return;
    turnedTo = null;
    if (document.activeElement === document.body) list.current?.querySelector<HTMLElement>("[aria-selected=true]")?.focus();
  }, [tab]);
  const there = TABS.flatMap((name) => (CONTENT[name] ? [{ name, ...CONTENT[name] }] : []));
  return (
    <Tabs.Root
      value={CONTENT[tab] ? tab : "overview"}
      onValueChange={({ value }) => {
        turnedTo = value;
        void navigate(modelPath(answer.row.model, TABS.find((known) => known === value)));
      }}
      lazyMount
      unmountOnExit
    >
      <Tabs.List ref={list} overflowX="auto" overflowY="hidden">
        {there.map(({ name, title }) => <Tabs.Trigger key={name} value={name} flexShrink={0}>{title}</Tabs.Trigger>)}
      </Tabs.List>
      {there.map(({ name, Content }) => (
        <Tabs.Content key={name} value={name}>
          <Content answer={answer} refresh={refresh} />
        </Tabs.Content>
      ))}
    </Tabs.Root>
  );
}

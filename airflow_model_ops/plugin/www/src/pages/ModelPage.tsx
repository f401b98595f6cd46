import { Box, Flex, Heading, Link, Tabs } from "@chakra-ui/react";
import type { ComponentType } from "react";
import { Link as RouterLink, useNavigate } from "react-router-dom";

import { useModel } from "../api/hooks";
import { ErrorState, Loading, StaleNote } from "../components/states";
import { HOME, TABS, type Tab, modelPath } from "../routes";
import { OverviewTab } from "./OverviewTab";
import type { TabProps } from "./tab";

/** The tabs that there are, by their part of the address; they are shown in the order of `TABS`. */
const CONTENT: Partial<Record<Tab, { title: string; Content: ComponentType<TabProps> }>> = {
  overview: { title: "Overview", Content: OverviewTab },
};

export function ModelPage({ model, tab }: { readonly model: string; readonly tab: Tab }) {
  const { data, error, mutate } = useModel(model);
  const navigate = useNavigate();
  const refresh = () => void mutate();
  return (
    <Box>
      <Flex as="nav" aria-label="Breadcrumb" gap={2} fontSize="sm" color="fg.muted" mb={1}>
        <Link asChild>
          <RouterLink to={HOME}>Models</RouterLink>
        </Link>
        <span aria-hidden="true">/</span>
        <span aria-current="page">{model}</span>
      </Flex>
      <Heading as="h1" size="xl" mb={3} overflowWrap="anywhere">
        {model}
      </Heading>
      {data && <StaleNote error={error} />}
      {!data && (error ? <ErrorState error={error} what={`The model ${model}`} retry={refresh} /> : <Loading what={`the model ${model}`} rows={6} />)}
      {data && (
        <Tabs.Root
          value={CONTENT[tab] ? tab : "overview"}
          onValueChange={({ value }) => void navigate(modelPath(model, TABS.find((known) => known === value)))}
          lazyMount
          unmountOnExit
        >
          <Tabs.List overflowX="auto" overflowY="hidden">
            {TABS.map((name) => {
              const known = CONTENT[name];
              return known && <Tabs.Trigger key={name} value={name}>{known.title}</Tabs.Trigger>;
            })}
          </Tabs.List>
          {TABS.map((name) => {
            const known = CONTENT[name];
            return known && <Tabs.Content key={name} value={name}><known.Content answer={data} refresh={refresh} /></Tabs.Content>;
          })}
        </Tabs.Root>
      )}
    </Box>
  );
}

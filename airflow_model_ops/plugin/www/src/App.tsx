import { Box } from "@chakra-ui/react";
import { matchPath, useLocation } from "react-router-dom";

import { useZone } from "./charts/zone";
import type { HostProps } from "./host";
import { ContextTab } from "./pages/ContextTab";
import { ModelPage } from "./pages/ModelPage";
import { ModelsPage } from "./pages/ModelsPage";
import { HOME, TABS, type Tab } from "./routes";

/** Which page an address is. It is matched whole: Airflow's routes around it are none of ours. */
export function App({ dagId, runId, taskId }: HostProps) {
  const { pathname } = useLocation();
  const open = matchPath(`${HOME}/models/:model/:tab?`, pathname)?.params;
  // Another time zone changes most of a page, so it is made anew.
  return (
    <Box key={useZone()} as="section" aria-label="Model Ops" p={{ base: 3, md: 5 }} maxW="1400px" mx="auto" w="full">
      {dagId ? (
        <ContextTab dagId={dagId} runId={runId} taskId={taskId} />
      ) : open?.model ? (
        <ModelPage key={open.model} model={open.model} tab={knownTab(open.tab)} />
      ) : (
        <ModelsPage />
      )}
    </Box>
  );
}

function knownTab(tab: string | undefined): Tab {
  return TABS.find((known) => known === tab) ?? "overview";
}

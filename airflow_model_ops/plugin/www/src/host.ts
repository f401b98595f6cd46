import type { SystemContext } from "@chakra-ui/react";

declare global {
  // Only `var` declares a property of the global object.
  var ChakraUISystem: SystemContext | undefined;
}

/** What Airflow's UI hands to a React app: which DAG, run or task a tab is about; nothing on a page of its own. */
export interface HostProps {
  readonly dagId?: string;
  readonly runId?: string;
  readonly taskId?: string;
  readonly mapIndex?: string;
}

/** The address of something that Airflow serves, from its path below the base, such as `api/v2/dags`. */
export function hostUrl(path: string): string {
  return new URL(path, document.baseURI).href;
}

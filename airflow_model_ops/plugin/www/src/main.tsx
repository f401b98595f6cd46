import { ChakraProvider, defaultSystem } from "@chakra-ui/react";

import { App } from "./App";
import type { HostProps } from "./host";

/** The component that Airflow's UI mounts, in the theme of its own system. */
export default function ModelOps(props: HostProps) {
  return (
    <ChakraProvider value={globalThis.ChakraUISystem ?? defaultSystem}>
      <App {...props} />
    </ChakraProvider>
  );
}

import { Box, Heading } from "@chakra-ui/react";
import { useLocation } from "react-router-dom";

import type { HostProps } from "./host";

export function App({ dagId }: HostProps) {
  const { pathname } = useLocation();
  return (
    <Box p={4}>
      <Heading size="lg">Model Ops</Heading>
      {pathname} {dagId}
    </Box>
  );
}

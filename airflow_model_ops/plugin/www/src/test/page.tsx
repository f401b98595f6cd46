import { ChakraProvider, defaultSystem } from "@chakra-ui/react";
import { render } from "@testing-library/react";
import type { ReactNode } from "react";
import { MemoryRouter, useLocation } from "react-router-dom";
import { SWRConfig } from "swr";

function Address() {
  const { pathname, search } = useLocation();
  return <output aria-label="address">{pathname + search}</output>;
}

/** Show something as Airflow's UI does: in its theme and router, with nothing remembered of other tests. */
export function show(content: ReactNode, { at = "/plugin/model-ops" }: { at?: string } = {}) {
  return render(
    <ChakraProvider value={defaultSystem}>
      <MemoryRouter initialEntries={[at]}>
        <SWRConfig value={{ provider: () => new Map() }}>
          {content}
          <Address />
        </SWRConfig>
      </MemoryRouter>
    </ChakraProvider>,
  );
}

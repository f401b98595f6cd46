import { Heading, Link, Table } from "@chakra-ui/react";
import { Link as RouterLink } from "react-router-dom";

import { useModels } from "../api/hooks";
import { SplitBar } from "../components/SplitBar";
import { EmptyState, ErrorState, Loading, StaleNote } from "../components/states";
import { rolesOf } from "../looks";
import { modelPath } from "../routes";

export function ModelsPage() {
  const { data, error, mutate } = useModels();
  return (
    <>
      <Heading as="h1" size="xl" mb={3}>
        Model Ops
      </Heading>
      {data && <StaleNote error={error} />}
      {!data && (error ? <ErrorState error={error} what="The list of models" retry={() => void mutate()} /> : <Loading what="the models" />)}
      {data?.models.length === 0 && <EmptyState title="No models yet" />}
      {data && data.models.length > 0 && (
        <Table.Root size="sm">
          <Table.Body>
            {data.models.map((row) => (
              <Table.Row key={row.model}>
                <Table.Cell>
                  <Link asChild>
                    <RouterLink to={modelPath(row.model)}>{row.model}</RouterLink>
                  </Link>
                </Table.Cell>
                <Table.Cell>
                  <SplitBar split={row.split} roles={rolesOf(row)} />
                </Table.Cell>
              </Table.Row>
            ))}
          </Table.Body>
        </Table.Root>
      )}
    </>
  );
}

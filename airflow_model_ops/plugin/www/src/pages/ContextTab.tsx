import { Flex, Grid, Heading, Link, Stack, Text } from "@chakra-ui/react";
import { Link as RouterLink } from "react-router-dom";

import type { Schemas } from "../api/client";
import { useContext_, useModel } from "../api/hooks";
import { Card } from "../components/Card";
import { EmptyState, ErrorState, Loading, StaleNote } from "../components/states";
import { modelPath } from "../routes";
import { CanaryState } from "./overview/CanaryState";
import { NewestChange } from "./overview/NewestChange";
import { ServesNow } from "./overview/ServesNow";

interface Props {
  readonly dagId: string;
  readonly runId?: string | undefined;
  readonly taskId?: string | undefined;
}

/** The tab on the pages of Airflow's DAGs, runs and tasks: the model that they are about. Airflow shows it on all of them. */
export function ContextTab(about: Props) {
  const { data, error, mutate } = useContext_(about);
  if (error && !data) return <ErrorState error={error} what="Which model this is about" retry={() => void mutate()} />;
  if (!data) return <Loading what="which model this is about" />;
  if (data.model === null) {
    return <EmptyState title="Nothing to show here">Model Ops knows no model that this is about, or you may not see it. A DAG that all models share says more on the pages of its runs.</EmptyState>;
  }
  return <Compact model={data.model} release={data.release} />;
}

function Compact({ model, release }: { readonly model: string; readonly release: string | null }) {
  const { data, error, mutate } = useModel(model);
  return (
    <Stack gap={3}>
      <Flex justify="space-between" align="baseline" gap={3} wrap="wrap">
        <Heading as="h2" size="lg" overflowWrap="anywhere">{model}</Heading>
        <Link asChild textDecoration="underline"><RouterLink to={modelPath(model)}>Its page in Model Ops</RouterLink></Link>
      </Flex>
      {data && <StaleNote error={error} />}
      {!data && (error ? <ErrorState error={error} what={`The model ${model}`} retry={() => void mutate()} /> : <Loading what={`the model ${model}`} />)}
      {data && release !== null && <OfRun answer={data} release={release} />}
      {data && (
        <Grid gap={4} templateColumns={{ base: "minmax(0, 1fr)", lg: "repeat(2, minmax(0, 1fr))" }} alignItems="start">
          <Card title="What serves now"><ServesNow row={data.row} /></Card>
          <Card title="Canary"><CanaryState row={data.row} release={data.release} /></Card>
          <Card title="Newest change"><NewestChange head={data.head} /></Card>
        </Grid>
      )}
    </Stack>
  );
}

function OfRun({ answer, release }: { readonly answer: Schemas["ModelAnswer"]; readonly release: string }) {
  const live = answer.release?.id === release;
  return (
    <Text>
      {live ? "This run's release is live." : "This run's release is over, or has not begun."}{" "}
      <Link asChild textDecoration="underline">
        <RouterLink to={modelPath(answer.row.model, "evidence", { release })}>Its evidence</RouterLink>
      </Link>
    </Text>
  );
}

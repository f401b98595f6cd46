import { Alert, Button, Field, Flex, Heading, Input, Link, NativeSelect, Text, useBreakpointValue } from "@chakra-ui/react";
import { useMemo, useState } from "react";
import { Link as RouterLink, useSearchParams } from "react-router-dom";

import type { Schemas } from "../api/client";
import { useModels } from "../api/hooks";
import { TimeAgo } from "../components/TimeAgo";
import { EmptyState, ErrorState, Loading, StaleNote } from "../components/states";
import { ModelCards, ModelsTable } from "./models/ModelsTable";
import { ORDERS, type Order, shown, summary } from "./models/attention";

/** How many models are drawn at first, and with each press of the button: hundreds at once take a browser seconds. */
const FIRST = 30;
const MORE = 100;

/** All models at one look. What is searched for and the order are in the address, so that a view can be passed on. */
export function ModelsPage() {
  const { data, error, isValidating, mutate } = useModels();
  const refresh = () => void mutate();
  return (
    <>
      <Flex justify="space-between" align="baseline" gap={3} wrap="wrap" mb={3}>
        <Heading as="h1" size="xl">Model Ops</Heading>
        {data && <Age list={data} busy={isValidating} refresh={refresh} />}
      </Flex>
      {data && <StaleNote error={error} />}
      {data && data.mistakes > 0 && <Mistakes count={data.mistakes} />}
      {!data && (error ? <ErrorState error={error} what="The list of models" retry={refresh} /> : <Loading what="the models" rows={6} />)}
      {data && (data.models.length > 0 ? <List models={data.models} /> : <Nothing complete={data.complete} />)}
    </>
  );
}

function List({ models }: { readonly models: readonly Schemas["ModelRow"][] }) {
  const [query, setQuery] = useSearchParams();
  const search = query.get("q") ?? "";
  const order: Order = Object.hasOwn(ORDERS, query.get("order") ?? "") ? (query.get("order") as Order) : "attention";
  const [limit, setLimit] = useState(FIRST);
  const narrow = useBreakpointValue({ base: true, lg: false }, { ssr: false });
  const rows = useMemo(() => shown(models, { search, order }), [models, search, order]);
  const change = (name: string, value: string) =>
    setQuery(
      (old) => {
        const next = new URLSearchParams(old);
        if (value) next.set(name, value);
        else next.delete(name);
        return next;
      },
      { replace: true },
    );
  return (
    <>
      <Text mb={3} aria-live="polite">{summary(models)}.</Text>
      <Flex gap={3} mb={3} wrap="wrap">
        <Field.Root width={{ base: "full", sm: "260px" }}>
          <Field.Label>Search</Field.Label>
          <Input type="search" size="sm" placeholder="model, fleet or version" value={search} onChange={(event) => change("q", event.target.value)} />
        </Field.Root>
        <Field.Root width={{ base: "full", sm: "220px" }}>
          <Field.Label>Order</Field.Label>
          <NativeSelect.Root size="sm">
            <NativeSelect.Field value={order} onChange={(event) => change("order", event.target.value)}>
              {Object.entries(ORDERS).map(([value, words]) => <option key={value} value={value}>{words}</option>)}
            </NativeSelect.Field>
            <NativeSelect.Indicator />
          </NativeSelect.Root>
        </Field.Root>
      </Flex>
      {rows.length === 0 && <EmptyState title={`No model matches "${search}"`}>There are {models.length} in all.</EmptyState>}
      {rows.length > 0 && (narrow ? <ModelCards rows={rows.slice(0, limit)} /> : <ModelsTable rows={rows.slice(0, limit)} />)}
      {rows.length > limit && (
        <Flex justify="center" mt={3}>
          <Button size="sm" variant="outline" onClick={() => setLimit(limit + MORE)}>
            Show more: {rows.length - limit} of {rows.length} are not shown
          </Button>
        </Flex>
      )}
    </>
  );
}

function Age({ list, busy, refresh }: { readonly list: Schemas["ModelList"]; readonly busy: boolean; readonly refresh: () => void }) {
  const age = list.age_seconds;
  const read = useMemo(() => (age === null ? null : new Date(Date.now() - age * 1000).toISOString()), [age]);
  return (
    <Flex align="center" gap={3} fontSize="sm" color="fg.muted">
      <Text>{list.complete ? <>Read <TimeAgo at={read} /></> : "Still reading the models' logs; rows are missing or empty"}</Text>
      <Button size="xs" variant="outline" onClick={refresh} aria-busy={busy}>Refresh</Button>
    </Flex>
  );
}

function Mistakes({ count }: { readonly count: number }) {
  const files =
    count === 1 ? "1 YAML file has mistakes, so that the model it describes is" : `${count} YAML files have mistakes, so that the models they describe are`;
  return (
    <Alert.Root status="warning" role="status" size="sm" mb={3}>
      <Alert.Indicator />
      <Alert.Description>
        {files} not released. <Link asChild textDecoration="underline"><RouterLink to="/">Airflow's import errors</RouterLink></Link> say
        which and why.
      </Alert.Description>
    </Alert.Root>
  );
}

function Nothing({ complete }: { readonly complete: boolean }) {
  if (!complete) return <Loading what="the models" rows={6} />;
  return (
    <EmptyState title="No models to show">
      A model appears here with its YAML file in the models directory (<code>[model_ops] models_dir</code>), if you may see the DAG that
      releases it.
    </EmptyState>
  );
}

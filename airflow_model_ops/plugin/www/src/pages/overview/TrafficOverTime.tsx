import { useState } from "react";

import type { Schemas } from "../../api/client";
import { useTraffic } from "../../api/hooks";
import { TrafficHistoryChart } from "../../charts/TrafficHistoryChart";
import { ErrorState, Loading, StaleNote } from "../../components/states";
import { rolesOf } from "../../looks";

/** What served over the last hours or days. */
export function TrafficOverTime({ row }: { readonly row: Schemas["ModelRow"] }) {
  const { model, live } = row;
  const [hours, setHours] = useState(24);
  const { data, error, mutate } = useTraffic(model, { hours, live });
  if (!data) return error ? <ErrorState error={error} what="What served over time" retry={() => void mutate()} /> : <Loading what="what served over time" />;
  return (
    <>
      <StaleNote error={error} />
      <TrafficHistoryChart history={data} hours={hours} roles={rolesOf(row)} onHours={setHours} />
    </>
  );
}

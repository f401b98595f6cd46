import { useRef } from "react";
import useSWR, { type SWRConfiguration, type SWRResponse } from "swr";

import { type Answer, type ApiError, type Asked, type GetPath, type Schemas, get } from "./client";
import { pace, paceOfFilling, waitAfterError, worthAskingAgain } from "./polling";

/** What every hook gives: `data` (the last good one stays while a newer is asked for), `error`, `isLoading`, `mutate` to ask now. */
export type Read<P extends GetPath> = SWRResponse<Answer<P>, ApiError>;

/** SWR's side of the policy in polling.ts. It asks for one key once at a time, and not in a hidden tab. */
export const POLICY: SWRConfiguration = {
  dedupingInterval: 1_000,
  focusThrottleInterval: 5_000,
  keepPreviousData: false,
  refreshWhenHidden: false,
  refreshWhenOffline: false,
  revalidateOnFocus: true,
  onErrorRetry: (error, _key, _config, revalidate, { retryCount }) => {
    if (!worthAskingAgain(error)) return;
    setTimeout(() => void revalidate({ retryCount }), waitAfterError(retryCount));
  },
};

function useRead<P extends GetPath>(
  path: P,
  asked: Asked<P> | null,
  next: (answer: Answer<P> | undefined) => number = () => 0,
  more: SWRConfiguration<Answer<P>, ApiError> = {},
): Read<P> {
  return useSWR<Answer<P>, ApiError, [P, Asked<P>] | null>(
    asked === null ? null : [path, asked],
    ([where, what]: [P, Asked<P>]) => get(where, what),
    { ...(POLICY as SWRConfiguration<Answer<P>, ApiError>), refreshInterval: next, ...more },
  );
}

/** The list of all models. */
export function useModels() {
  const first = useRef<number>(null);
  return useRead("/api/v1/models", {}, (list) => {
    if (!list) return 0;
    first.current ??= Date.now();
    const unfilled = !list.complete || list.models.some(({ health }) => health.value === null && health.trouble === null);
    const filling = unfilled ? paceOfFilling(Date.now() - first.current) : 0;
    return filling || pace("models", list.models.some((row) => row.live));
  });
}

/** One model; `null`: none is asked for. */
export function useModel(model: string | null) {
  const asked = model === null ? null : { path: { model } };
  return useRead("/api/v1/models/{model}", asked, (answer) => pace("model", answer?.row.live ?? false));
}

/** A page of the log, the newest without `before`. `live` as the model's row says; older pages never change. */
export function useTimeline(model: string, { before, limit = 50, live = false }: { before?: number; limit?: number; live?: boolean } = {}) {
  const asked = { path: { model }, query: before === undefined ? { limit } : { before, limit } };
  return useRead("/api/v1/models/{model}/timeline", asked, () => pace("timeline", live && before === undefined));
}

/** What served when, in the last hours. */
export function useTraffic(model: string, { hours = 24, live = false }: { hours?: number; live?: boolean } = {}) {
  const asked = { path: { model }, query: { hours } };
  return useRead("/api/v1/models/{model}/traffic", asked, () => pace("traffic", live), { keepPreviousData: true });
}

/** The evidence of a release; without one: the newest. */
export function useEvidence(model: string, { release, attempt, live = false }: { release?: string; attempt?: number; live?: boolean } = {}) {
  const query = { ...(release !== undefined && { release }), ...(attempt !== undefined && { attempt }) };
  const asked = { path: { model }, query };
  const growing = (answer: Answer<"/api/v1/models/{model}/evidence"> | undefined) =>
    pace("evidence", answer?.series?.live ?? (live && release === undefined));
  return useRead("/api/v1/models/{model}/evidence", asked, growing);
}

/** A page of the versions, newest first. */
export function useVersions(model: string, { limit = 50, skip = 0 }: { limit?: number; skip?: number } = {}) {
  return useRead("/api/v1/models/{model}/versions", { path: { model }, query: { limit, skip } }, undefined, { keepPreviousData: true });
}

/** Two to four versions side by side; with fewer nothing is asked. */
export function useComparison(model: string, versions: readonly string[], { hours }: { hours?: number } = {}) {
  const query = { version: [...versions], ...(hours !== undefined && { hours }) };
  const asked = versions.length < 2 ? null : { path: { model }, query };
  return useRead("/api/v1/models/{model}/comparison", asked, undefined, { revalidateOnFocus: false });
}

/** Where a version comes from and what it led to; `null`: none is asked for. */
export function useLineage(model: string, version: string | null) {
  const asked = version === null ? null : { path: { model, version } };
  return useRead("/api/v1/models/{model}/versions/{version}/lineage", asked, undefined, { revalidateOnFocus: false });
}

/** Which model a DAG, a run or a task of Airflow is about. */
export function useContext_(about: { dagId?: string | undefined; runId?: string | undefined; taskId?: string | undefined }) {
  const { dagId, runId, taskId } = about;
  const query = dagId === undefined ? null : { dag_id: dagId, ...(runId && { run_id: runId }), ...(taskId && { task_id: taskId }) };
  return useRead("/api/v1/context", query === null ? null : { query }, undefined, { revalidateOnFocus: false });
}

/** How far an action's DAG run is, until it is done; `null`: none runs. */
export function useProgress(model: string, run: Schemas["Started"] | null) {
  const asked = run === null ? null : { path: { model, dag_id: run.dag_id, run_id: run.run_id } };
  return useRead("/api/v1/models/{model}/actions/{dag_id}/{run_id}", asked, (progress) => pace("progress", !progress?.done));
}

/** What a rollback would do now; `null`: none is asked for. Never an answer of before: each opening asks anew. */
export function usePreview(model: string, to: string | null) {
  const asked = to === null ? null : { path: { model }, query: { to } };
  return useRead("/api/v1/models/{model}/rollback-preview", asked, undefined, { dedupingInterval: 0, revalidateOnMount: true });
}

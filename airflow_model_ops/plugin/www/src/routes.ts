import type { Schemas } from "./api/client";

/** Paths within Airflow's UI, for the router, which knows the base. A test holds this one to airflow_plugin.py. */
export const HOME = "/plugin/model-ops";

export const TABS = ["overview", "evidence", "versions", "timeline", "lineage"] as const;
export type Tab = (typeof TABS)[number];

/** A model's page, at a tab, with what the tab is about in the query, such as `{ version }` for lineage. */
export function modelPath(model: string, tab: Tab = "overview", about: Record<string, string> = {}): string {
  const path = `${HOME}/models/${encodeURIComponent(model)}${tab === "overview" ? "" : `/${tab}`}`;
  const query = new URLSearchParams(about);
  return query.size ? `${path}?${query}` : path;
}

/** Airflow's own page of a run, or of a task of it. */
export function runPath({ dag_id, run_id, task_id }: Schemas["RunLink"]): string {
  const run = `/dags/${encodeURIComponent(dag_id)}/runs/${encodeURIComponent(run_id)}`;
  return task_id ? `${run}/tasks/${encodeURIComponent(task_id)}` : run;
}

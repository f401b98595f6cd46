import { Link } from "@chakra-ui/react";
import type { ReactNode } from "react";
import { Link as RouterLink } from "react-router-dom";

import type { Schemas } from "../api/client";
import { runPath } from "../routes";

/** A link to Airflow's own page of a run, or of a task of it. */
export function RunLink({ run, children }: { readonly run: Schemas["RunLink"] | null; readonly children?: ReactNode }) {
  if (run === null) return null;
  return (
    <Link asChild textDecoration="underline" title={`${run.dag_id}, ${run.run_id}`}>
      <RouterLink to={runPath(run)}>{children ?? "DAG run"}</RouterLink>
    </Link>
  );
}

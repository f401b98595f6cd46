import { Alert, Spinner } from "@chakra-ui/react";
import { useEffect } from "react";

import type { Schemas } from "../api/client";
import { useProgress } from "../api/hooks";
import { RunLink } from "../components/RunLink";

/** An action that was asked for. */
export interface Followed {
  readonly words: string;
  readonly run: Schemas["Started"];
}

interface Props {
  readonly model: string;
  readonly followed: Followed;
  /** Called whenever there is news, so that the page shows what the run has changed. */
  readonly news: () => void;
}

const STATES: Record<string, string> = { queued: "waits for its turn", running: "runs" };

/** An action's DAG run, followed to its end. */
export function FollowedRun({ model, followed: { words, run }, news }: Props) {
  const { data, error } = useProgress(model, run);
  const stage = data && `${data.state} ${data.done} ${data.generation}`;
  useEffect(() => {
    if (stage !== undefined) news();
    // What matters is that the run got on; `news` is another function each time.
  }, [stage]);
  const status = !data?.done ? "info" : data.succeeded ? "success" : "error";
  return (
    <Alert.Root status={status} role="status" aria-live="polite">
      {data?.done ? <Alert.Indicator /> : <Spinner size="sm" />}
      <Alert.Content>
        <Alert.Title>
          {words}: {!data?.done ? (STATES[data?.state ?? "queued"] ?? data?.state) : data.succeeded ? "done" : "not done"}
        </Alert.Title>
        <Alert.Description overflowWrap="anywhere">
          {data?.message} {error && `Not up to date: ${error.detail}`} <RunLink run={run}>Its DAG run</RunLink>
        </Alert.Description>
      </Alert.Content>
    </Alert.Root>
  );
}

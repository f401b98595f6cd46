import { Box, CloseButton, Flex } from "@chakra-ui/react";
import { type ReactNode, useMemo, useState } from "react";

import type { Schemas } from "../api/client";
import { useFreshParts, useNewsOf } from "../api/news";
import { ActionDialog } from "./ActionDialog";
import { type Followed, FollowedRun } from "./FollowedRun";
import type { Action } from "./actions";
import { ActionsContext } from "./context";

interface Props {
  readonly answer: Schemas["ModelAnswer"];
  readonly children: ReactNode;
}

/** Lets everything below offer the model's actions; keeps the dialog that is open and the run that is followed. */
export function ActionsOfModel({ answer, children }: Props) {
  const [asked, setAsked] = useState<{ action: Action; version: string | undefined } | null>(null);
  const [followed, setFollowed] = useState<Followed | null>(null);
  const news = useNewsOf(answer.row.model);
  useFreshParts(answer);
  const actions = useMemo(
    () => ({
      offer: (action: Action) => answer.offers.find((offer) => offer.action === action),
      ask: (action: Action, version?: string) => {
        setFollowed(null);
        setAsked({ action, version });
      },
    }),
    [answer.offers],
  );
  return (
    <ActionsContext.Provider value={actions}>
      {followed && !asked && (
        <Flex gap={2} mb={3} align="start">
          <Box flex="1" minW={0}>
            <FollowedRun model={answer.row.model} followed={followed} news={news} />
          </Box>
          <CloseButton size="sm" aria-label="Do not follow this run any more" onClick={() => setFollowed(null)} />
        </Flex>
      )}
      {children}
      {asked && (
        <ActionDialog
          answer={answer}
          action={asked.action}
          version={asked.version}
          followed={followed}
          started={setFollowed}
          news={news}
          close={() => setAsked(null)}
        />
      )}
    </ActionsContext.Provider>
  );
}

import { createContext, useContext } from "react";

import type { Schemas } from "../api/client";
import type { Action } from "./actions";

/** What parts of a model's page need in order to offer its actions. */
export interface Actions {
  readonly offer: (action: Action) => Schemas["Offer"] | undefined;
  /** Open an action's dialog; with a version it is about that one. */
  readonly ask: (action: Action, version?: string) => void;
}

export const ActionsContext = createContext<Actions>({ offer: () => undefined, ask: () => undefined });

export function useActions(): Actions {
  return useContext(ActionsContext);
}

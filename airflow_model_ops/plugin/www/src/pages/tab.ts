import type { Schemas } from "../api/client";

/** What every tab of a model's page is given; what else a tab is about is in the address's query. */
export interface TabProps {
  readonly answer: Schemas["ModelAnswer"];
  /** Ask for the model again, such as after an action. */
  readonly refresh: () => void;
}

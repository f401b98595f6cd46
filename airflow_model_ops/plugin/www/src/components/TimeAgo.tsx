import { absolute, since, useNow } from "../time";

interface Props {
  readonly at: string | null | undefined;
  /** `3 min ago`, or only `3 min`. */
  readonly word?: " ago" | "";
}

/** How long ago something was; the moment itself when pointed at. */
export function TimeAgo({ at, word = " ago" }: Props) {
  const now = useNow();
  if (!at) return <span>unknown</span>;
  return (
    <time dateTime={at} title={absolute(at)}>
      {since(at, now)}
      {word}
    </time>
  );
}

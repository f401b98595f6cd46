import { Alert, Box, Button, Heading, Link, Skeleton, Stack, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";

import { ApiError, type Trouble, signInUrl } from "../api/client";

const BACKENDS: Record<Trouble["backend"], string> = {
  repository: "The repository of versions and logs",
  fleet: "The fleet of servers",
  ledger: "The ledger of ML Metadata",
  metrics: "The metric source",
};

/** A part of an answer that is missing, and why; the rest of the page goes on. */
export function PartTrouble({ trouble, what }: { readonly trouble: Trouble; readonly what: string }) {
  return (
    <Alert.Root status="warning" role="status" size="sm">
      <Alert.Indicator />
      <Alert.Content>
        <Alert.Title>{what} cannot be shown now</Alert.Title>
        <Alert.Description overflowWrap="anywhere">
          {BACKENDS[trouble.backend]}: {trouble.reason}
        </Alert.Description>
      </Alert.Content>
    </Alert.Root>
  );
}

interface ErrorProps {
  readonly error: unknown;
  /** What could not be read, such as `The list of models`. */
  readonly what: string;
  readonly retry?: () => void;
}

/** Something could not be read at all: what to do about it. */
export function ErrorState({ error, what, retry }: ErrorProps) {
  const detail = error instanceof Error ? error.message : String(error);
  const signedOut = error instanceof ApiError && error.signedOut;
  return (
    <Alert.Root status="error" role="alert">
      <Alert.Indicator />
      <Alert.Content>
        <Alert.Title>{what} cannot be read</Alert.Title>
        <Alert.Description overflowWrap="anywhere">{detail}</Alert.Description>
        <Box mt={2}>
          {signedOut ? (
            <Link href={signInUrl()} textDecoration="underline">
              Sign in
            </Link>
          ) : (
            retry && (
              <Button size="xs" variant="outline" onClick={retry}>
                Try again
              </Button>
            )
          )}
        </Box>
      </Alert.Content>
    </Alert.Root>
  );
}

/** What was last read is shown, though it cannot be read again just now. */
export function StaleNote({ error }: { readonly error: unknown }) {
  if (error === undefined) return null;
  return (
    <Text role="status" fontSize="sm" color="fg.warning">
      ! Not up to date: {error instanceof Error ? error.message : String(error)}
    </Text>
  );
}

/** There is nothing, and what would make something be there. */
export function EmptyState({ title, children }: { readonly title: string; readonly children?: ReactNode }) {
  return (
    <Box py={8} px={4} textAlign="center" borderWidth="1px" borderStyle="dashed" borderColor="border" borderRadius="md">
      <Heading as="h2" size="sm">
        {title}
      </Heading>
      {children && (
        <Box color="fg.muted" mt={2}>
          {children}
        </Box>
      )}
    </Box>
  );
}

/** Something is on its way. */
export function Loading({ what, rows = 3 }: { readonly what: string; readonly rows?: number }) {
  return (
    <Stack role="status" aria-live="polite" aria-label={`Reading ${what}`} gap={3}>
      {Array.from({ length: rows }, (_, row) => (
        <Skeleton key={row} height="28px" />
      ))}
    </Stack>
  );
}

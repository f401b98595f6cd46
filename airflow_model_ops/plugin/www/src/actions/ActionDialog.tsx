import { Alert, Button, Checkbox, CloseButton, Dialog, Field, Portal, Stack, Text, Textarea } from "@chakra-ui/react";
import { type FormEvent, type ReactNode, useRef, useState } from "react";

import { ApiError, type Schemas } from "../api/client";
import { usePreview, useVersions } from "../api/hooks";
import { ErrorState } from "../components/states";
import { type Followed, FollowedRun } from "./FollowedRun";
import { PreviewPanel, RollbackFields, useSettled } from "./RollbackFields";
import { VersionField } from "./VersionField";
import { type Action, type Form, REASON, WORDS, missing, needsReason, send } from "./actions";

const TYPING = 400; // milliseconds without a key, after which a preview is asked for

interface Props {
  readonly answer: Schemas["ModelAnswer"];
  readonly action: Action;
  /** The version it is about, if that is settled already. */
  readonly version?: string | undefined;
  readonly followed: Followed | null;
  readonly started: (followed: Followed) => void;
  readonly news: () => void;
  readonly close: () => void;
}

/** Asks what an action needs, shows what it will do, asks for it, and follows its run to the end. */
export function ActionDialog({ answer, action, version, followed, started, news, close }: Props) {
  const { name } = WORDS[action];
  return (
    <Dialog.Root open onOpenChange={({ open }) => !open && close()} closeOnInteractOutside={false} scrollBehavior="inside" size={{ mdDown: "full", md: "lg" }}>
      <Portal>
        <Dialog.Backdrop />
        <Dialog.Positioner>
          <Dialog.Content>
            <Dialog.Header>
              <Dialog.Title overflowWrap="anywhere">
                {name}: {answer.row.model}
              </Dialog.Title>
            </Dialog.Header>
            {followed ? (
              <Following>
                <FollowedRun model={answer.row.model} followed={followed} news={news} />
              </Following>
            ) : (
              <Asking answer={answer} action={action} version={version} started={started} />
            )}
            <Dialog.CloseTrigger asChild>
              <CloseButton size="sm" aria-label="Close" />
            </Dialog.CloseTrigger>
          </Dialog.Content>
        </Dialog.Positioner>
      </Portal>
    </Dialog.Root>
  );
}

function Following({ children }: { readonly children: ReactNode }) {
  return (
    <>
      <Dialog.Body>
        {children}
        <Text mt={3} color="fg.muted" fontSize="sm">You may close this: the run goes on, and the page keeps showing it.</Text>
      </Dialog.Body>
      <Dialog.Footer>
        <Dialog.ActionTrigger asChild>
          <Button variant="outline">Close</Button>
        </Dialog.ActionTrigger>
      </Dialog.Footer>
    </>
  );
}

function Asking({ answer, action, version, started }: Pick<Props, "answer" | "action" | "version" | "started">) {
  const { confirm, explained, palette } = WORDS[action];
  const [form, setForm] = useState<Form>({ reason: "", version: version ?? (action === "rollback" ? "previous" : ""), force: false });
  const [faults, setFaults] = useState<ReturnType<typeof missing>>({});
  const [refused, setRefused] = useState<ApiError | null>(null);
  const [sending, setSending] = useState(false);
  const reason = useRef<HTMLTextAreaElement>(null);
  const to = useSettled(form.version.trim(), TYPING);
  const preview = usePreview(answer.row.model, action === "rollback" && to !== "" ? to : null);
  // A preview of other words than those in the field must not stop, nor allow, anything.
  const previewed = to === form.version.trim() && !preview.isValidating;
  const impossible = action === "rollback" && previewed && preview.data?.possible === false;
  const unseen = action === "rollback" && !previewed;

  const change = (changes: Partial<Form>) => {
    setForm((before) => ({ ...before, ...changes }));
    setFaults({});
  };
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const found = missing(action, form);
    setFaults(found);
    if (found.reason) reason.current?.focus();
    if (found.reason || found.version || sending || impossible || unseen) return;
    setSending(true);
    setRefused(null);
    try {
      started({ words: confirm, run: await send(action, answer.row.model, form, preview.data?.generation) });
    } catch (error) {
      setRefused(error instanceof ApiError ? error : new ApiError(0, String(error)));
      setSending(false);
    }
  };

  return (
    <form onSubmit={(event) => void submit(event)} noValidate style={{ display: "contents" }}>
      <Dialog.Body>
        <Stack gap={4}>
          <Text>{explained}</Text>
          <About answer={answer} action={action} form={form} change={change} fault={faults.version} />
          {action === "rollback" && <PreviewPanel preview={preview} row={answer.row} />}
          {needsReason(action) && (
            <Field.Root required invalid={faults.reason !== undefined}>
              <Field.Label>
                Reason <Field.RequiredIndicator />
              </Field.Label>
              <Textarea ref={reason} rows={2} maxLength={REASON.longest} value={form.reason} onChange={(event) => change({ reason: event.target.value })} />
              <Field.HelperText>Kept in the log for all to read, with your name, {answer.user}.</Field.HelperText>
              <Field.ErrorText>{faults.reason}</Field.ErrorText>
            </Field.Root>
          )}
          {refused && (refused.signedOut ? <ErrorState error={refused} what="The answer" /> : <Refused error={refused} />)}
        </Stack>
      </Dialog.Body>
      <Dialog.Footer>
        <Dialog.ActionTrigger asChild>
          <Button variant="outline">Cancel</Button>
        </Dialog.ActionTrigger>
        {/* White letters cannot be read on the theme's yellow, orange and green. */}
        <Button type="submit" colorPalette={palette === "red" ? "red" : "blue"} loading={sending} disabled={impossible || unseen}>
          {confirm}
        </Button>
      </Dialog.Footer>
    </form>
  );
}

function Refused({ error }: { readonly error: ApiError }) {
  return (
    <Alert.Root status="error" role="alert">
      <Alert.Indicator />
      <Alert.Content>
        <Alert.Title>{error.status === 0 ? "Whether it was asked for is not known" : "Not done"}</Alert.Title>
        <Alert.Description overflowWrap="anywhere">{error.detail}</Alert.Description>
      </Alert.Content>
    </Alert.Root>
  );
}

interface AboutProps {
  readonly answer: Schemas["ModelAnswer"];
  readonly action: Action;
  readonly form: Form;
  readonly change: (changes: Partial<Form>) => void;
  readonly fault?: string | undefined;
}

/** Which version an action is about, where it is about one. */
function About({ answer, action, form, change, fault }: AboutProps) {
  const version = { value: form.version, change: (name: string) => change({ version: name }), fault };
  switch (action) {
    case "rollback":
      return <RollbackFields answer={answer} to={form.version} change={version.change} fault={fault} />;
    case "pin":
      return <Known model={answer.row.model}>{(known) => <VersionField {...version} label="Version" known={known} required={false} help={`Empty: ${answer.row.stable ?? "the stable one"}, which is stable now.`} />}</Known>;
    case "lift":
      return <VersionField {...version} label="Version" known={answer.quarantined} />;
    case "quarantine":
      return (
        <>
          <Known model={answer.row.model}>{(known) => <VersionField {...version} label="Version" known={known} />}</Known>
          <Checkbox.Root checked={form.force} onCheckedChange={({ checked }) => change({ force: checked === true })}>
            <Checkbox.HiddenInput />
            <Checkbox.Control />
            <Checkbox.Label fontWeight="normal">also if it is the only one that serves</Checkbox.Label>
          </Checkbox.Root>
        </>
      );
    default:
      return null;
  }
}

function Known({ model, children }: { readonly model: string; readonly children: (known: string[]) => ReactNode }) {
  const { data } = useVersions(model);
  return children(data?.versions.map((row) => row.version) ?? []);
}

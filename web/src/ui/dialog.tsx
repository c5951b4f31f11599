import { Dialog as Base } from "@base-ui/react/dialog";
import { type FormEvent, type ReactNode, useId, useState } from "react";
import { type Authority, useMe, whyNot } from "~/live/may";
import { Button } from "./button";
import { Input } from "./field";
import { ProblemNotice } from "./notice";

const BACKDROP =
  "fixed inset-0 z-40 bg-[oklch(0_0_0/0.35)] transition-opacity duration-120 data-[ending-style]:opacity-0 data-[starting-style]:opacity-0";
const POPUP =
  "fixed z-50 left-1/2 top-[12vh] max-md:top-4 max-h-[80vh] max-md:max-h-[calc(100dvh-2rem)] w-[min(560px,calc(100vw-2rem))] -translate-x-1/2 overflow-y-auto rounded-md border border-line-strong bg-raised p-5 shadow-float transition-opacity duration-120 data-[ending-style]:opacity-0 data-[starting-style]:opacity-0";

interface Props {
  open: boolean;
  onClose: () => void;
  title: string;
  children: ReactNode;
  className?: string;
}

export function Dialog({ open, onClose, title, children, className }: Props): ReactNode {
  return (
    <Base.Root open={open} onOpenChange={(next) => !next && onClose()}>
      <Base.Portal>
        <Base.Backdrop className={BACKDROP} />
        <Base.Popup className={`${POPUP} ${className ?? ""}`}>
          <Base.Title className="mb-3 text-lg font-semibold">{title}</Base.Title>
          {children}
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}

interface ConfirmProps {
  open: boolean;
  onClose: () => void;
  title: string;
  /** What is lost. */
  children: ReactNode;
  /** The button: a verb with its object. */
  verb: string;
  /** When given, this has to be typed first: for what cannot be taken back. */
  typed?: string;
  /** What somebody needs to say yes; it says why they may not. */
  needs?: Authority;
  act: () => Promise<unknown>;
}

/** Asks before what cannot be taken back; names the thing and what is lost. Stays open, with the reason, when it failed. */
export function Confirm({
  open,
  onClose,
  title,
  children,
  verb,
  typed,
  needs,
  act,
}: ConfirmProps): ReactNode {
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const id = useId();
  const right = typed === undefined || text === typed;
  useMe();
  const refusal = needs === undefined ? null : whyNot(needs);

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    if (!right || busy || refusal !== null) return;
    setBusy(true);
    setError(null);
    try {
      await act();
      setText("");
      onClose();
    } catch (failed) {
      setError(failed);
    } finally {
      setBusy(false); // I-40: also when nothing changed
    }
  }

  return (
    <Dialog open={open} onClose={onClose} title={title}>
      <form onSubmit={submit} className="space-y-4">
        <div className="space-y-2">{children}</div>
        {typed !== undefined && (
          <div className="space-y-1">
            <label htmlFor={id} className="block text-sm">
              Type <b>{typed}</b> to go on
            </label>
            <Input
              id={id}
              value={text}
              onChange={(event) => setText(event.target.value)}
              autoComplete="off"
              spellCheck={false}
            />
          </div>
        )}
        {refusal !== null && <p className="text-sm text-muted">{refusal}.</p>}
        {error !== null && <ProblemNotice error={error} />}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button needs={needs} type="submit" look="danger" disabled={!right} busy={busy}>
            {verb}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

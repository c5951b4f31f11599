// xterm.js writes style elements and style attributes, which the page's policy forbids: no inline style, whoever wrote it.
// While a terminal is there, its style elements are stylesheets made in script, and a style that is set on a span as an
// attribute is set as its property: both are what the policy allows. (It has an option for another document, and passes
// that to some of its parts only; so this is done to the page's own.)

export interface Styles {
  /** Runs `act`, in which style elements that are made are stylesheets. */
  during<T>(act: () => T): T;
  /** Takes everything away again. */
  end(): void;
}

let open = 0;

export function withoutInlineStyle(): Styles {
  const sheets = new Set<CSSStyleSheet>();
  const drop = (sheet: CSSStyleSheet) => {
    sheets.delete(sheet);
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((each) => each !== sheet);
  };
  if (open++ === 0) HTMLSpanElement.prototype.setAttribute = setByProperty;
  return {
    during(act) {
      const make = document.createElement;
      document.createElement = ((name: string, options?: ElementCreationOptions) => {
        if (name !== "style") return make.call(document, name, options);
        const sheet = new CSSStyleSheet();
        sheets.add(sheet);
        document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
        return standIn(make.call(document, "span"), sheet, drop);
      }) as typeof document.createElement;
      try {
        return act();
      } finally {
        delete (document as { createElement?: unknown }).createElement; // that of the prototype is seen again
      }
    },
    end() {
      for (const sheet of [...sheets]) drop(sheet);
      if (--open === 0) delete (HTMLSpanElement.prototype as { setAttribute?: unknown }).setAttribute;
    },
  };
}

/** An element whose text is the sheet's, and which takes the sheet with it when it is removed. */
function standIn(
  element: HTMLElement,
  sheet: CSSStyleSheet,
  drop: (sheet: CSSStyleSheet) => void,
): HTMLElement {
  let text = "";
  element.hidden = true;
  Object.defineProperty(element, "textContent", {
    get: () => text,
    set: (value: string) => {
      text = value;
      sheet.replaceSync(value);
    },
  });
  element.remove = () => {
    drop(sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

function setByProperty(this: HTMLSpanElement, name: string, value: string): void {
  if (name === "style") this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
}

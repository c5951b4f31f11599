export function token(name: string, css?: string): string[];
export function hex(oklch: readonly number[]): string;
export function icon(size: number, ground?: string): Promise<Uint8Array>;
export function manifest(): {
  readonly start_url: string;
  readonly theme_color: string;
  readonly icons: readonly { readonly src: string; readonly sizes: string; readonly purpose?: string }[];
};
export function installable(): object;

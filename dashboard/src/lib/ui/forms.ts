import { tick } from 'svelte';

/** Leads to the first field of a form that is marked as wrong, once the marks are drawn. */
export async function focusFirstInvalid(form: HTMLFormElement | undefined): Promise<void> {
	await tick();
	form?.querySelector<HTMLElement>('[aria-invalid="true"], [data-invalid]')?.focus();
}

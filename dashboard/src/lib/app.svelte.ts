import { createContext } from 'svelte';
import { messageOf } from './api/error';
import { Live } from './live/live.svelte';
import { defaultOrchestratorUrl, SettingsStore, type ThemeChoice } from './settings';

export interface Toast {
	id: number;
	kind: 'error' | 'done';
	title: string;
	detail: string;
}

export interface Confirmation {
	title: string;
	/** What will happen, in a sentence or two. */
	body: string;
	/** The verb on the button. */
	action: string;
	/** What the other button says; "Keep" when it is not given. */
	refuse?: string;
	/** Nothing is lost by it. */
	harmless?: boolean;
}

/** An error stays long enough to be read and copied. */
const ERROR_TOAST_MS = 15_000;
const DONE_TOAST_MS = 4000;
const MAX_TOASTS = 4;

/** App is what every page shares: the live view, settings, toasts and the question in front. */
export class App {
	live: Live;
	theme: ThemeChoice;
	toasts = $state.raw<Toast[]>([]);
	/** The question that waits for an answer. */
	question = $state.raw<(Confirmation & { answer: (yes: boolean) => void }) | undefined>();

	private readonly settings: SettingsStore;
	private readonly darkQuery = window.matchMedia('(prefers-color-scheme: dark)');
	// eslint-disable-next-line svelte/prefer-svelte-reactivity -- nothing is drawn from it
	private readonly toastTimers = new Map<number, ReturnType<typeof setTimeout>>();
	private nextToast = 1;

	constructor() {
		this.settings = new SettingsStore(storage());
		this.theme = $state(this.settings.theme);
		this.live = $state.raw(new Live(this.orchestratorUrl));
	}

	start(): void {
		this.darkQuery.addEventListener('change', this.showTheme);
		this.live.start();
	}

	stop(): void {
		this.darkQuery.removeEventListener('change', this.showTheme);
		for (const timer of this.toastTimers.values()) clearTimeout(timer);
		this.live.stop();
	}

	get orchestratorUrl(): string {
		return this.settings.orchestratorUrl ?? this.defaultUrl;
	}

	/** The address as a person has set it; undefined while it is the default. */
	get customUrl(): string | undefined {
		return this.settings.orchestratorUrl;
	}

	get defaultUrl(): string {
		return defaultOrchestratorUrl(import.meta.env);
	}

	/** The address in full, for commands to copy. */
	get origin(): string {
		return this.live.api.baseUrl || window.location.origin;
	}

	/** Turns to another orchestrator; undefined: the default. */
	setOrchestratorUrl(url: string | undefined): void {
		this.settings.orchestratorUrl = url;
		this.live.stop();
		this.live = new Live(this.orchestratorUrl);
		this.live.start();
	}

	setTheme(theme: ThemeChoice): void {
		this.theme = theme;
		this.settings.theme = theme;
		this.showTheme();
	}

	private readonly showTheme = () => {
		const dark = this.theme === 'dark' || (this.theme === 'system' && this.darkQuery.matches);
		document.documentElement.dataset.theme = dark ? 'dark' : 'light';
	};

	/** Asks before something that cannot be undone; answers whether to go on. */
	confirm(confirmation: Confirmation): Promise<boolean> {
		this.question?.answer(false);
		return new Promise((resolve) => {
			this.question = {
				...confirmation,
				answer: (yes) => {
					this.question = undefined;
					resolve(yes);
				}
			};
		});
	}

	/** Runs an action of a person's; a failure becomes a toast that says what could not be done. */
	async attempt<T>(title: string, action: () => Promise<T>): Promise<T | undefined> {
		try {
			return await action();
		} catch (error) {
			this.toast('error', title, messageOf(error));
			return undefined;
		}
	}

	toast(kind: Toast['kind'], title: string, detail = ''): void {
		const toast = { id: this.nextToast++, kind, title, detail };
		const kept = this.toasts.slice(-(MAX_TOASTS - 1));
		this.toasts = [...kept, toast];
		const lasts = kind === 'error' ? ERROR_TOAST_MS : DONE_TOAST_MS;
		this.toastTimers.set(
			toast.id,
			setTimeout(() => this.dismiss(toast.id), lasts)
		);
	}

	dismiss(id: number): void {
		clearTimeout(this.toastTimers.get(id));
		this.toastTimers.delete(id);
		this.toasts = this.toasts.filter((toast) => toast.id !== id);
	}
}

/** Even naming the storage throws where it is forbidden. */
function storage(): Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> {
	try {
		return window.localStorage;
	} catch {
		const refuse = () => {
			throw new DOMException('storage is not allowed', 'SecurityError');
		};
		return { getItem: refuse, setItem: refuse, removeItem: refuse };
	}
}

export const [getApp, setApp] = createContext<App>();

// What a person has set, kept in this browser only.

export type ThemeChoice = 'light' | 'dark' | 'system';

const URL_KEY = 'orchion.url';
const THEME_KEY = 'orchion.theme'; // static/theme.js reads it too

/**
 * Where the orchestrator is when nobody has set it: what the build was told, or port 8080 on this
 * machine for the development server, or where this page came from.
 */
export function defaultOrchestratorUrl(env: {
	DEV: boolean;
	VITE_ORCHESTRATOR_URL?: string;
}): string {
	return env.VITE_ORCHESTRATOR_URL || (env.DEV ? 'http://localhost:8080' : '');
}

/**
 * Reads an address that a person typed: with http:// or https://, without it http is meant. Empty
 * stays empty. Throws an Error that says what to type.
 */
export function parseOrchestratorUrl(text: string): string {
	const trimmed = text.trim();
	if (trimmed === '') return '';
	const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(trimmed) ? trimmed : `http://${trimmed}`;
	let url: URL;
	try {
		url = new URL(withScheme);
	} catch {
		throw new Error('write an address such as http://localhost:8080');
	}
	if (url.protocol !== 'http:' && url.protocol !== 'https:') {
		throw new Error(`use http:// or https://, not ${url.protocol}//`);
	}
	if (url.username || url.password) throw new Error('leave user and password out of the address');
	if (url.search || url.hash) throw new Error('leave everything from ? or # on out of the address');
	return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

/** The storage of settings; a browser that forbids storage gets settings that last for the visit. */
export class SettingsStore {
	private readonly fallback = new Map<string, string>();

	constructor(private readonly storage: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>) {}

	/** The address that a person has set; undefined: the default. */
	get orchestratorUrl(): string | undefined {
		return this.read(URL_KEY) || undefined;
	}

	set orchestratorUrl(url: string | undefined) {
		this.write(URL_KEY, url || undefined);
	}

	get theme(): ThemeChoice {
		const theme = this.read(THEME_KEY);
		return theme === 'light' || theme === 'dark' ? theme : 'system';
	}

	set theme(theme: ThemeChoice) {
		this.write(THEME_KEY, theme === 'system' ? undefined : theme);
	}

	private read(key: string): string | null {
		try {
			return this.storage.getItem(key);
		} catch {
			return this.fallback.get(key) ?? null;
		}
	}

	private write(key: string, value: string | undefined): void {
		try {
			if (value === undefined) this.storage.removeItem(key);
			else this.storage.setItem(key, value);
		} catch {
			if (value === undefined) this.fallback.delete(key);
			else this.fallback.set(key, value);
		}
	}
}

import { describe, expect, it } from 'vitest';
import { defaultOrchestratorUrl, parseOrchestratorUrl, SettingsStore } from './settings';

describe('parseOrchestratorUrl', () => {
	it.each([
		['', ''],
		['  ', ''],
		['localhost:8080', 'http://localhost:8080'],
		['https://orchion.example/', 'https://orchion.example'],
		['http://host/prefix//', 'http://host/prefix'],
		['http://[::1]:8080', 'http://[::1]:8080']
	])('%j is %j', (text, url) => expect(parseOrchestratorUrl(text)).toBe(url));
	it.each([
		['ftp://host', 'use http:// or https://, not ftp://'],
		['http://', 'write an address such as http://localhost:8080'],
		['http://me:secret@host', 'leave user and password out of the address'],
		['http://host/?a=b', 'leave everything from ? or # on out of the address']
	])('%j is refused', (text, message) => expect(() => parseOrchestratorUrl(text)).toThrow(message));
	it('refuses what would run as a script', () => {
		expect(() => parseOrchestratorUrl('javascript://alert(1)')).toThrow('not javascript://');
	});
});

it('the default is what the build was told, the development port, or the own origin', () => {
	expect(defaultOrchestratorUrl({ DEV: false })).toBe('');
	expect(defaultOrchestratorUrl({ DEV: true })).toBe('http://localhost:8080');
	expect(defaultOrchestratorUrl({ DEV: true, VITE_ORCHESTRATOR_URL: 'http://x' })).toBe('http://x');
});

it('settings work for the visit where storage is forbidden', () => {
	const refuse = () => {
		throw new Error('forbidden');
	};
	const settings = new SettingsStore({ getItem: refuse, setItem: refuse, removeItem: refuse });
	expect([settings.orchestratorUrl, settings.theme]).toEqual([undefined, 'system']);
	settings.orchestratorUrl = 'http://x';
	settings.theme = 'dark';
	expect([settings.orchestratorUrl, settings.theme]).toEqual(['http://x', 'dark']);
	settings.orchestratorUrl = undefined;
	expect(settings.orchestratorUrl).toBeUndefined();
});

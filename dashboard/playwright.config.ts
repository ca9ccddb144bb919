import { existsSync } from 'node:fs';
import { defineConfig } from '@playwright/test';

// The system's Chromium where there is one, else the one that Playwright has installed.
const chromium = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium';

export default defineConfig({
	testDir: 'tests',
	outputDir: 'test-results',
	fullyParallel: true,
	workers: process.env.CI ? 2 : undefined,
	forbidOnly: Boolean(process.env.CI),
	// Chromium drops every connection when a network interface of the machine comes or goes, as it
	// does when a container starts; a test that this has hit is reported as flaky.
	retries: 2,
	timeout: 60_000,
	expect: { timeout: 10_000 },
	reporter: [['list']],
	use: {
		browserName: 'chromium',
		headless: true,
		viewport: { width: 1280, height: 800 },
		// Recording costs about a third of the time, so it waits until something has failed.
		trace: 'on-first-retry',
		// The same words on every machine.
		locale: 'en-US',
		timezoneId: 'UTC',
		launchOptions: {
			executablePath: existsSync(chromium) ? chromium : undefined,
			args: [
				'--no-sandbox',
				'--disable-gpu',
				'--disable-quic',
				'--no-first-run',
				'--disable-background-networking',
				'--disable-component-update',
				'--disable-sync'
			]
		}
	},
	projects: [
		{ name: 'fixture', testIgnore: /smoke\.spec/ },
		// Against the real orchestrator at ORCHION_E2E_URL.
		{ name: 'smoke', testMatch: /smoke\.spec/, use: { baseURL: process.env.ORCHION_E2E_URL } }
	]
});

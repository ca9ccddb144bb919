// The package has types only.
export {};

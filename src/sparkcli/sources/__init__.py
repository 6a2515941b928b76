"""Where prompts come from: the `prepare` stage.

read      rows of a file, a hub dataset                    prepare   a source → prompts
layouts   one row → one prompt, whatever the columns are called
"""

"""Plants a secret in every channel of a project and looks for it in all that it sent.

probe/       an app that a generated project gets: the table of channels, and views
run.py       serves that project where nothing but loopback exists, and drives it
columns.py   the configurations in which that is done
"""
